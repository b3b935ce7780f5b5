-- Drivers, users, their logins.

SELECT 1;

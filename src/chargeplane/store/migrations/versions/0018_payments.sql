-- Payments.

SELECT 1;

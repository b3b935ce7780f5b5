-- Reservations for an interval.

SELECT 1;

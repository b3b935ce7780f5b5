-- Bookings by partners.
SELECT 1;

-- Roaming connections.
SELECT 1;

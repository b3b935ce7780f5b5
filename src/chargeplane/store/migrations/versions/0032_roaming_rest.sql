-- Roaming, continued.
SELECT 1;

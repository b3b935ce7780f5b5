-- Business, continued.
SELECT 1;

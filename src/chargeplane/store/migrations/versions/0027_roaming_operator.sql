-- Roaming as an operator.
SELECT 1;

-- Service agreements.

SELECT 1;

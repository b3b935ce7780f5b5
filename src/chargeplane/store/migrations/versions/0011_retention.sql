-- What is forgotten.
SELECT 1;

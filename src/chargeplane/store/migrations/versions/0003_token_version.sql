-- The version of id tokens.
SELECT 1;

-- Local lists, reservations, rules of id tokens.
SELECT 1;

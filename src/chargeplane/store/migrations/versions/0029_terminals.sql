-- Payment terminals of partners.
SELECT 1;

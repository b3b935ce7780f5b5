-- Lists of the business.
SELECT 1;

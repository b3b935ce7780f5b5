-- Contract certificates.
SELECT 1;

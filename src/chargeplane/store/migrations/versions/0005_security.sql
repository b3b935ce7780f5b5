-- Security events, installed certificates, staged changes.
SELECT 1;

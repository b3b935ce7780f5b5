-- The device model and configuration templates.
SELECT 1;

-- Charging sessions, CDRs, signed meter values.

SELECT 1;

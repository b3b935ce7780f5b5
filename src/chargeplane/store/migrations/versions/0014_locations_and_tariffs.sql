-- Locations, EVSEs and tariffs.

SELECT 1;

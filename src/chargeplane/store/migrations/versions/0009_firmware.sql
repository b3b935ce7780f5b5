-- Firmware, campaigns, uploads, monitors, events.
SELECT 1;

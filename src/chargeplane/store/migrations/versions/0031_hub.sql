-- Messages of a hub.
SELECT 1;

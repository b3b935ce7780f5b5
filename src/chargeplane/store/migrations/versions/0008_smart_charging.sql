-- Charging profiles at stations.
SELECT 1;

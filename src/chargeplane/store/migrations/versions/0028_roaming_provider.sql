-- Roaming as a provider: replicas of what partners own.
SELECT 1;

-- Performance, the work list, webhooks.

SELECT 1;

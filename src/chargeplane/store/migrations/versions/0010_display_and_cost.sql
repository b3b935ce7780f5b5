-- Display messages, tariffs and costs at stations.
SELECT 1;

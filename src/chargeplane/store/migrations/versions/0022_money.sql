-- Fees, disputes, saved ways of paying, holds of account holders.
SELECT 1;

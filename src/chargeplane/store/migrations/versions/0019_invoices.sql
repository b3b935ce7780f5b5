-- Invoices and the ledger.

SELECT 1;

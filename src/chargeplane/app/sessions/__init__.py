"""Charging sessions: the business view of transactions, from the first message to the CDR."""

"""Roaming: connections with partners, what is sent to them and what is known of them. Documents are canonical JSON here."""

"""Payments as data: what is known of one, its states, the next step, how much is held."""

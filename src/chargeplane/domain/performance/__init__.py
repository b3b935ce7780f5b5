"""How stations and the network do."""

"""How stations and the network do: history of states, daily figures, what does not count."""

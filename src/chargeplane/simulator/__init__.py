"""Virtual charging stations: real clients, over the wire."""

"""Locations: where charging happens, in the model of OCPI 2.3.0."""

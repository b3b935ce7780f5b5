"""Tariffs: what charging costs and when, in the model of OCPI 2.3.0."""

"""Locations: described by operators, bound to stations, found by drivers."""

from chargeplane.app.locations.codes import CodeAddresses
from chargeplane.app.locations.locations import EvseWanted, Locations
from chargeplane.app.locations.places import EvsePlace

__all__ = ["CodeAddresses", "EvsePlace", "EvseWanted", "Locations"]

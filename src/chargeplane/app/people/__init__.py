"""Use cases about people: drivers, users, their logins, and what others ask of them."""

from chargeplane.app.people.driver_tokens import DriverTokens
from chargeplane.app.people.drivers import DriverChanges, Drivers
from chargeplane.app.people.people import People
from chargeplane.app.people.vehicles import Vehicles

__all__ = ["DriverChanges", "DriverTokens", "Drivers", "People", "Vehicles"]

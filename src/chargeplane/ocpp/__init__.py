"""OCPP-J 1.6, 2.0.1 and 2.1 without I/O: no socket, no clock, no await. Importable on its own."""

"""Configuration (data), wiring (objects), command line."""

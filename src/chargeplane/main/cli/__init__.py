"""The `chargeplane` command."""

from chargeplane.main.cli.root import cli, main

__all__ = ["cli", "main"]

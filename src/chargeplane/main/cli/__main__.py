"""`python -m chargeplane.main.cli`."""

from chargeplane.main.cli import main

main()

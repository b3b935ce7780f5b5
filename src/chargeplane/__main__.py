"""`python -m chargeplane`."""

from chargeplane.main.cli import main

main()

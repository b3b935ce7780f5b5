"""The parts of the load generator `benchmarks/ocpp_load.py`.

watch      CPU and memory of server processes and the machine
payloads   what stations send and answer, as pre-encoded templates
station    one simulated station on one socket; what the stations of a run share
scenarios  what a station does, as generators
runs       connecting, measured runs, idle connections
commands   HTTP calls that reach stations
summary    medians over repetitions
"""

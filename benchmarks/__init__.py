"""Load generator, peers and the benchmark runs."""

"""One folder an edge; none knows another."""

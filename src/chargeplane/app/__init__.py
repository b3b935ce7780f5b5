"""Use cases: async, free of protocol versions."""

"""Programs, relays and clients that tests use."""

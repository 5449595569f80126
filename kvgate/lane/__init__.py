"""The lane: clients' bytes in, stores' bytes out, replies back in order; and the connections to the stores."""

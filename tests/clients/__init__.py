"""Client libraries and Redis' own tools against the gate."""

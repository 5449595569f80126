"""Applications that people run on Redis, unmodified, behind the gate."""

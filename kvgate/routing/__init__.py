"""Where a key lies: its namespace, backend, slot and shard. Knows no socket."""

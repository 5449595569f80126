"""What Redis knows about keys, strings and expiry, written once over any ordered key-value engine (docs/keyspace.md)."""

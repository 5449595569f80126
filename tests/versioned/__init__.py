"""Versioned strings and hashes: what tair.md says of them, on every backend."""

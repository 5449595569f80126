"""The adapter for KvRocks: the Redis adapter with KvRocks' differences."""

from kvgate_kvrocks.adapter import adapter

__all__ = ["adapter"]

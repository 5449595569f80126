"""The adapter for Redis and Valkey, and for stores that speak their protocol: commands pass through as bytes."""

from kvgate_redis.adapter import adapter

__all__ = ["adapter"]

"""Tests of the Redis adapter."""

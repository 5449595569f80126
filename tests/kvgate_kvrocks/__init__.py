"""Tests of the KvRocks adapter."""

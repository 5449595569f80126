"""Tests of what docs/operations/ gives to operators."""

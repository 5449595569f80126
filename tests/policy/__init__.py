"""Tests of kvgate.policy."""

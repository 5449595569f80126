"""Tests of kvgate.metrics."""

"""Tests of kvgate.routing."""

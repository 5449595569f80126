"""Tests of kvgate.cli."""

"""Tests of kvgate.lane."""

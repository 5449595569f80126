"""Tests of kvgate/assess."""

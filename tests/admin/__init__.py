"""Tests of kvgate/admin."""

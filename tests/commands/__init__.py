"""Tests of kvgate/commands."""

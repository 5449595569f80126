"""Tests of kvgate.config."""

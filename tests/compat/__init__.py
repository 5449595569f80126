"""Tests of the differential harness, and its fixed share of a search."""

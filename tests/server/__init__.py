"""Tests of the gate above the lane."""

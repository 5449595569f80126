"""Tests of the key-value model."""

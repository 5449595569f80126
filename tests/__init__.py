"""Tests of kvgate; the folders mirror the tree of the packages."""

"""Tests of the benchmark harness: its arithmetic, its accounting of processes, and one small run."""

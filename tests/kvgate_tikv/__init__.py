"""Tests of the adapter for TiKV, on the server of tests/tikv or on a real cluster (``PD_ADDRS``)."""

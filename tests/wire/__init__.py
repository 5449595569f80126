"""Tests of kvgate.wire: what is scanned, measured and encoded is compared with real Redis' bytes."""

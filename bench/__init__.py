"""The figures of docs/benchmarks.md: the gate beside Twemproxy, HAProxy and Redis itself, ``python -m bench --help``."""

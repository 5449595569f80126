"""`kvgate assess`: what of a live Redis would work behind the gate, prefix by prefix, on each type of backend.

It reads and never writes: statistics, names of keys, and for a sample of them type, expiry and sizes; never a value.
"""

"""A fuzzer that looks for memory errors in kvgate/lane/_native.c, and for differences between it and the Python methods."""

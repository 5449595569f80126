"""A TiKV cluster for tests: the Go program in this folder, and what builds, starts and commands it."""

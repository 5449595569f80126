"""The embedded store on LMDB. The entry point ``lmdb`` of ``kvgate.backends`` names `adapter`."""

from typing import Final

from kvgate_lmdb.backend import LmdbAdapter, LmdbBackend

__all__ = ["LmdbAdapter", "LmdbBackend", "adapter"]

adapter: Final = LmdbAdapter()

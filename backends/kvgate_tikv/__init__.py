"""TiKV as a store of the gate. The entry point ``tikv`` of ``kvgate.backends`` names `adapter`."""

from typing import Final

from kvgate_tikv.backend import TikvAdapter, TikvBackend

__all__ = ["TikvAdapter", "TikvBackend", "adapter"]

adapter: Final = TikvAdapter()

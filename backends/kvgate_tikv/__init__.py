"""TiKV as a store of the gate, through the package tikv-client."""

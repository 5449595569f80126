"""Histories of concurrent clients, recorded on real gates under faults, and a checker that finds an order or refuses."""

"""kvgate: one Redis address in front of several stores."""

__version__ = "0.1.0"

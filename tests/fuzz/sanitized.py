"""A plugin of pytest (``-p tests.fuzz.sanitized``): tests run the extension that was built with sanitizers."""

from tests.fuzz.build import load

load()

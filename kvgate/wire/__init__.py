"""RESP as bytes: scanning requests, measuring and encoding replies. Knows no command."""

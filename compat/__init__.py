"""What shows that kvgate behaves as Redis: client libraries, and comparisons with a real server."""

"""The gate above the lane: what every command meets in which order, and the commands that take another path."""

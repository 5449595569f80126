"""Stores that fail and clients that leave, on real redis-servers behind a real gate process."""

"""Delivery: lanes, claims, backoff, dead letters. At least once, one key, one effect."""

"""``isolation: process``: an adapter in a process of its own, without store, keys, environment or further network."""

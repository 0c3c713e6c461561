"""Adapters: how partners are reached, and how what they send is read safely."""

"""Screening: instruments as data, scoring, triage proposals, and the service over them."""

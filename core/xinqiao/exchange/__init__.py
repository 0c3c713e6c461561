"""Periodic exchanges: periods and calendar, runs that survive a crash, signed packages, receipts, reconciliation."""

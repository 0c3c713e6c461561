"""The case file: who a student is, what was consented, and what is owed."""

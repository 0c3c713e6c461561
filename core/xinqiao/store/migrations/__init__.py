"""Alembic environment and revisions: ``records`` for the records database, ``keys`` for the key database."""

"""The one room that knows SQL: tables, the single writer, readers, sealing and keys, claims and migrations.

Import from the modules: ``engine.open_store``, ``tx.Tx``, ``tables``, ``sql``, ``claims``, ``keys``, ``sealing``.
"""

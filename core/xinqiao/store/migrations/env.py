"""Alembic's entry: runs on the connection that :mod:`xinqiao.store.migrate` hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    transaction_per_migration=False,
    # SQLite can roll DDL back too, once the driver no longer commits on its own.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

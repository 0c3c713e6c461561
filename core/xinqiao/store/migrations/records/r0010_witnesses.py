"""Heads that partners gave back, and checkpoints as append-only as the journal."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None

_GUARDS = {
    "sqlite": (
        "CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints"
        " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
        "CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints"
        " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    ),
    "postgresql": (
        "CREATE TRIGGER checkpoints_no_change BEFORE UPDATE OR DELETE ON checkpoints"
        " FOR EACH ROW EXECUTE FUNCTION journal_append_only()",
        "CREATE TRIGGER checkpoints_no_truncate BEFORE TRUNCATE ON checkpoints"
        " FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
    ),
}


def upgrade() -> None:
    """Add the table of witnesses and the triggers of the checkpoints."""
    op.create_table(
        "witnesses",
        sa.Column("partner", sa.Text(), primary_key=True, nullable=False),
        sa.Column("writer", sa.Text(), primary_key=True, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    for statement in _GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop both again."""
    names = [statement.split()[2] for statement in _GUARDS[op.get_bind().dialect.name]]
    for name in names:
        op.execute(f"DROP TRIGGER {name}" + (" ON checkpoints" if op.get_bind().dialect.name == "postgresql" else ""))
    op.drop_table("witnesses")

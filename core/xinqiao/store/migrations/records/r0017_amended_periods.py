"""Amended periods: what was taken back, why, and where an item stood in its package; and what parties bring themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_PLACES = """
UPDATE exchange_items SET place = packed.place
FROM (
    SELECT run, ordinal, row_number() OVER (PARTITION BY run ORDER BY ordinal) - 1 AS place
    FROM exchange_items WHERE outcome IN (1, 3)
) AS packed
WHERE exchange_items.run = packed.run AND exchange_items.ordinal = packed.ordinal
"""
# What was sent, and what of it was refused, stood in the package in frozen order.


def upgrade() -> None:
    """Add the columns, and the index by which an item is found in a run."""
    op.add_column("exchange_runs", sa.Column("withdrawn", sa.Integer(), server_default="0", nullable=False))
    op.add_column("exchange_runs", sa.Column("reason", sa.Text(), server_default="", nullable=False))
    op.add_column("exchange_items", sa.Column("place", sa.Integer(), nullable=True))
    op.execute(_PLACES)
    op.create_index("ix_exchange_items_run_item", "exchange_items", ["run", "item"])
    op.create_index(
        "ix_referrals_sender_recipient_created_us", "referrals", ["sender", "recipient", "created_us", "id"]
    )
    op.create_table(
        "exchange_arrivals",
        sa.Column("exchange", sa.Text(), primary_key=True, nullable=False),
        sa.Column("partner", sa.Text(), primary_key=True, nullable=False),
        sa.Column("period", sa.Text(), primary_key=True, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("nil", sa.Boolean(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "exchange_records",
        sa.Column("exchange", sa.Text(), primary_key=True, nullable=False),
        sa.Column("partner", sa.Text(), primary_key=True, nullable=False),
        sa.Column("period", sa.Text(), primary_key=True, nullable=False),
        sa.Column("source", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=True),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("exchange_records")
    op.drop_table("exchange_arrivals")
    op.drop_index("ix_referrals_sender_recipient_created_us", "referrals")
    op.drop_index("ix_exchange_items_run_item", "exchange_items")
    op.drop_column("exchange_items", "place")
    op.drop_column("exchange_runs", "reason")
    op.drop_column("exchange_runs", "withdrawn")

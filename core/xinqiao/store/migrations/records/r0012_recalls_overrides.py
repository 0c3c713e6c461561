"""Recalls of what was disclosed, and disclosures that a second person must approve."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables with their indexes."""
    op.create_table(
        "recalls",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_recalls_student", "recalls", ["student"])
    op.create_index("ix_recalls_cause", "recalls", ["cause"])
    op.create_index("ix_recalls_recipient_created_us", "recalls", ["recipient", "created_us"])
    op.create_table(
        "overrides",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_overrides_student", "overrides", ["student"])
    op.create_index("ix_overrides_created_us", "overrides", ["created_us"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("overrides")
    op.drop_table("recalls")

"""Notices of mental-health status, and leaves with the return to school."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables with their indexes."""
    op.create_table(
        "notices",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("serial", name="uq_notices_serial"),
    )
    op.create_index("ix_notices_student", "notices", ["student"])
    op.create_index("ix_notices_school_created_us", "notices", ["school", "created_us"])
    op.create_table(
        "returns",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_returns_student", "returns", ["student"])
    op.create_index("ix_returns_agency_created_us", "returns", ["agency", "created_us"])
    op.create_index("ix_returns_recipient", "returns", ["recipient"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("returns")
    op.drop_table("notices")

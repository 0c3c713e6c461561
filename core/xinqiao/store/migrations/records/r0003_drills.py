"""Drills of the crisis lane."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of drills."""
    op.create_table(
        "drills",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("people", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.UniqueConstraint("student", name="uq_drills_student"),
    )
    op.create_index("ix_drills_state", "drills", ["state"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("drills")

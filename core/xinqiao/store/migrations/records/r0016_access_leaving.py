"""Looks at records that two persons decide on, and since when a student has left."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_LEFT = sa.text("left_us > 0")


def upgrade() -> None:
    """Add the table and the column; of those who have left already, their last change is the last day known."""
    op.create_table(
        "access_requests",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("asker", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.UniqueConstraint("token_hash", name="uq_access_requests_token_hash"),
    )
    op.create_index("ix_access_requests_student", "access_requests", ["student"])
    op.create_index("ix_access_requests_created_us", "access_requests", ["created_us"])
    op.create_index("ix_access_requests_state_due_us", "access_requests", ["state", "due_us"])
    op.add_column("students", sa.Column("left_us", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE students SET left_us = updated_us WHERE state = '1'")
    op.create_index("ix_students_left_us", "students", ["left_us"], sqlite_where=_LEFT, postgresql_where=_LEFT)


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("ix_students_left_us", "students")
    op.drop_column("students", "left_us")
    op.drop_table("access_requests")

"""Plans with their entries, shares, care teams with their tasks, mailboxes with their letters."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OPEN = sa.text("state = 1")


def upgrade() -> None:
    """Create the tables with their indexes."""
    op.create_table(
        "plans",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_plans_student", "plans", ["student"])
    op.create_index("uq_plans_open", "plans", ["student"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_table(
        "entries",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("superseded_by", sa.Text(), nullable=False),
        sa.Column("superseded_version", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_entries_student_created_us", "entries", ["student", "created_us"])
    op.create_index("ix_entries_plan", "entries", ["plan"])
    op.create_table(
        "shares",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Integer(), nullable=False),
        sa.Column("classes", sa.Integer(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("not_after_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_shares_student_recipient", "shares", ["student", "recipient"])
    op.create_index("ix_shares_recipient_created_us", "shares", ["recipient", "created_us"])
    op.create_index("ix_shares_school_created_us", "shares", ["school", "created_us"])
    op.create_index("ix_shares_state_not_after_us", "shares", ["state", "not_after_us"])
    op.create_index("ix_shares_team", "shares", ["team"])
    op.create_table(
        "teams",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_teams_school_created_us", "teams", ["school", "created_us"])
    op.create_index("uq_teams_open", "teams", ["student"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("share", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_tasks_team", "tasks", ["team"])
    op.create_index("ix_tasks_share_state", "tasks", ["share", "state"])
    op.create_table(
        "mailboxes",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_mailboxes_student", "mailboxes", ["student"])
    op.create_index("ix_mailboxes_school_created_us", "mailboxes", ["school", "created_us"])
    op.create_table(
        "letters",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("student", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("from_student", sa.Boolean(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_letters_student_created_us", "letters", ["student", "created_us"])
    op.create_index("ix_letters_worker_created_us", "letters", ["worker", "created_us"])


def downgrade() -> None:
    """Drop them; what they hold is lost."""
    for table in ("letters", "mailboxes", "tasks", "teams", "shares", "entries", "plans"):
        op.drop_table(table)

"""Reports that are expected for a period."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of expected reports."""
    op.create_table(
        "expected_reports",
        sa.Column("id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("school", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("windows", sa.Text(), nullable=False),
        sa.Column("guessed", sa.Boolean(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("nil_report", sa.Boolean(), nullable=False),
        sa.Column("students_seen", sa.Integer(), nullable=False),
        sa.Column("concerns", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint(
            "cadence", "subject", "unit", "period", name="uq_expected_reports_cadence_subject_unit_period"
        ),
    )
    op.create_index("ix_expected_reports_state_due_us", "expected_reports", ["state", "due_us"])
    op.create_index("ix_expected_reports_subject_due_us", "expected_reports", ["subject", "due_us"])


def downgrade() -> None:
    """Drop it; what was owed is forgotten."""
    op.drop_table("expected_reports")

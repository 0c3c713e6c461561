"""No query asks for a school's forms by time, and every form paid for that index."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop it."""
    op.drop_index("ix_assessments_school_created_us", "assessments")


def downgrade() -> None:
    """Make it again."""
    op.create_index("ix_assessments_school_created_us", "assessments", ["school", "created_us"])

"""Students who were erased."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of erasures."""
    op.create_table(
        "erasures",
        sa.Column("student", sa.Text(), primary_key=True, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("recipients", sa.Text(), nullable=False),
        sa.UniqueConstraint("request", name="uq_erasures_request"),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("erasures")

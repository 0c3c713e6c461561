"""Long runs go in parts, each with its own manifest and receipt."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; runs that are open go on as a whole."""
    op.create_table(
        "exchange_parts",
        sa.Column("run", sa.Text(), primary_key=True, nullable=False),
        sa.Column("part", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("exchange_parts")

"""Key-encryption keys in versions, and the deployment's own keys apart from them."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; in a database that was in use, version 0 stands for the key file that wrapped everything so far."""
    keks = op.create_table(
        "keks",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("retired_us", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "deployment_keys",
        sa.Column("name", sa.Text(), primary_key=True, nullable=False),
        sa.Column("kek", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
    )
    op.add_column("student_keys", sa.Column("kek", sa.Integer(), server_default="0", nullable=False))
    if context.config.attributes["found"] is not None:
        file = {
            "version": 0,
            "provider": "file",
            "provider_version": 1,
            "wrapped": b"",
            "created_us": 0,
            "retired_us": 0,
        }
        op.bulk_insert(keks, [file])


def downgrade() -> None:
    """Keys wrapped since would be lost."""
    raise NotImplementedError("keys may be wrapped under newer key-encryption keys: restore a backup instead")

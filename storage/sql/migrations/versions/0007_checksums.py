"""A checksum of each object that costs little to take again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # as in 0006, not as a batch
    op.add_column("image", sa.Column("xxh3_64", sa.Text(), nullable=True))

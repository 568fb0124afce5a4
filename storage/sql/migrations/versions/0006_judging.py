"""Which jobs are judged by quality rules, and what is lacking after that."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # not as a batch: that drops the table on SQLite, to which rows refer
    op.add_column("job", sa.Column("has_rules", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("job", sa.Column("short", sa.BigInteger(), nullable=False, server_default="0"))

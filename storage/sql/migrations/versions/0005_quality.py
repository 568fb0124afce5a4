"""What the quality of an image is told by."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # not as a batch: that drops the table on SQLite, to which rows refer
    op.add_column("job", sa.Column("rejected", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("job", sa.Column("judged", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.add_column(sa.Column("phash", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("scores", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("rejected", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("finish", sa.Text(), nullable=False, server_default=""))

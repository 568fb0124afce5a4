"""Options and flags of images; prompt and guidance may be absent."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'


def upgrade() -> None:
    with op.batch_alter_table('image', schema=None) as batch_op:
        batch_op.add_column(sa.Column('options', sa.JSON(), nullable=False, server_default='{}'))
        for name in ('truncated', 'nsfw', 'low_variance'):
            batch_op.add_column(sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.alter_column('prompt', existing_type=sa.Integer(), nullable=True)
        batch_op.alter_column('guidance_scale', existing_type=sa.Float(), nullable=True)

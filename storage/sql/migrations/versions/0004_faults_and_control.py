"""What control and faults need: wishes, limits, rests, links, events."""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'


def upgrade() -> None:
    _extend_jobs()
    _extend_chunks_and_images()
    _add_tables()


def _extend_jobs() -> None:
    with op.batch_alter_table('job', schema=None) as batch_op:
        for name in ('linked', 'forgiven'):
            batch_op.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('priority', sa.Text(), nullable=False, server_default='normal'))
        batch_op.add_column(sa.Column('reuse', sa.Text(), nullable=False, server_default='off'))
        for name in ('deadline', 'max_device_seconds', 'issued_at'):
            batch_op.add_column(sa.Column(name, sa.Float(), nullable=True))
        batch_op.add_column(sa.Column('device_seconds', sa.Float(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('retry', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('specs', sa.JSON(), nullable=False, server_default='[]'))


def _extend_chunks_and_images() -> None:
    with op.batch_alter_table('chunk', schema=None) as batch_op:
        batch_op.add_column(sa.Column('faults', sa.Integer(), nullable=False, server_default='0'))
        batch_op.add_column(sa.Column('avoid', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('manifest', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('noted', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index(batch_op.f('ix_chunk_noted'), ['noted'], unique=False)
    with op.batch_alter_table('image', schema=None) as batch_op:
        batch_op.add_column(sa.Column('linked_job', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('linked_number', sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f('ix_image_key'), ['key'], unique=False)


def _add_tables() -> None:
    op.create_table(
        'plan_limit',
        sa.Column('device', sa.Text(), nullable=False),
        sa.Column('plan', sa.Integer(), nullable=False),
        sa.Column('model', sa.Text(), nullable=False),
        sa.Column('width', sa.Integer(), nullable=False),
        sa.Column('height', sa.Integer(), nullable=False),
        sa.Column('detail', sa.Text(), nullable=False),
        sa.Column('found_at', sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(['plan'], ['plan.id'], name=op.f('fk_plan_limit_plan')),
        sa.PrimaryKeyConstraint('device', 'plan', 'model', 'width', 'height', name=op.f('pk_plan_limit')),
    )
    op.create_table(
        'rest',
        sa.Column('node', sa.Text(), nullable=False),
        sa.Column('model', sa.Text(), nullable=False),
        sa.Column('failures', sa.Integer(), nullable=False),
        sa.Column('until', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('node', 'model', name=op.f('pk_rest')),
    )
    op.create_table(
        'worker_wish',
        sa.Column('node', sa.Text(), nullable=False),
        sa.Column('wish', sa.Text(), nullable=False),
        sa.Column('wished_at', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('node', name=op.f('pk_worker_wish')),
    )
    op.create_table(
        'event',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('job', sa.Text(), nullable=False),
        sa.Column('at', sa.Float(), nullable=False),
        sa.Column('what', sa.Text(), nullable=False),
        sa.Column('detail', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_event')),
    )
    with op.batch_alter_table('event', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_event_job_id'), ['job', 'id'], unique=False)

"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None


def upgrade() -> None:
    op.create_table('environment',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_environment')),
    sa.UniqueConstraint('hash', name=op.f('uq_environment_hash'))
    )
    op.create_table('job',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('spec_hash', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('wish', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('positions', sa.BigInteger(), nullable=False),
    sa.Column('images', sa.BigInteger(), nullable=False),
    sa.Column('cursor', sa.BigInteger(), nullable=False),
    sa.Column('chunks', sa.Integer(), nullable=False),
    sa.Column('done', sa.BigInteger(), nullable=False),
    sa.Column('failed', sa.BigInteger(), nullable=False),
    sa.Column('models', sa.JSON(), nullable=True),
    sa.Column('seconds_per_image', sa.Float(), nullable=True),
    sa.Column('created_at', sa.Float(), nullable=False),
    sa.Column('started_at', sa.Float(), nullable=True),
    sa.Column('finished_at', sa.Float(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_job'))
    )
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_job_created_at'), ['created_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_job_spec_hash'), ['spec_hash'], unique=False)
        batch_op.create_index(batch_op.f('ix_job_state'), ['state'], unique=False)

    op.create_table('leader',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('beat', sa.BigInteger(), nullable=False),
    sa.Column('holder', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_leader'))
    )
    op.create_table('model',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('family', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model')),
    sa.UniqueConstraint('name', 'digest', name=op.f('uq_model_name_digest'))
    )
    op.create_table('plan',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_plan')),
    sa.UniqueConstraint('hash', name=op.f('uq_plan_hash'))
    )
    op.create_table('prompt',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_prompt')),
    sa.UniqueConstraint('sha256', name=op.f('uq_prompt_sha256'))
    )
    op.create_table('chunk',
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('ranges', sa.JSON(), nullable=False),
    sa.Column('images', sa.Integer(), nullable=False),
    sa.Column('plan', sa.Integer(), nullable=True),
    sa.Column('model', sa.Text(), nullable=True),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('node', sa.Text(), nullable=True),
    sa.Column('boot', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_chunk_job')),
    sa.ForeignKeyConstraint(['plan'], ['plan.id'], name=op.f('fk_chunk_plan')),
    sa.PrimaryKeyConstraint('job', 'number', name=op.f('pk_chunk'))
    )
    with op.batch_alter_table('chunk', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_chunk_state'), ['state'], unique=False)

    op.create_table('image',
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('prompt', sa.Integer(), nullable=False),
    sa.Column('negative_prompt', sa.Integer(), nullable=True),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('scheduler', sa.Text(), nullable=False),
    sa.Column('steps', sa.Integer(), nullable=False),
    sa.Column('guidance_scale', sa.Float(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('labels', sa.JSON(), nullable=False),
    sa.Column('model', sa.Integer(), nullable=False),
    sa.Column('plan', sa.Integer(), nullable=False),
    sa.Column('environment', sa.Integer(), nullable=False),
    sa.Column('recipe_hash', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=True),
    sa.Column('preview_key', sa.Text(), nullable=True),
    sa.Column('sha256', sa.Text(), nullable=True),
    sa.Column('pixel_sha256', sa.Text(), nullable=True),
    sa.Column('bytes', sa.BigInteger(), nullable=True),
    sa.Column('chunk', sa.Integer(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('run', sa.Text(), nullable=False),
    sa.Column('worker', sa.Text(), nullable=False),
    sa.Column('render_s', sa.Float(), nullable=True),
    sa.Column('encode_s', sa.Float(), nullable=True),
    sa.Column('upload_s', sa.Float(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('detail', sa.Text(), nullable=True),
    sa.Column('recorded_at', sa.Float(), nullable=False),
    sa.ForeignKeyConstraint(['environment'], ['environment.id'], name=op.f('fk_image_environment')),
    sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_image_job')),
    sa.ForeignKeyConstraint(['model'], ['model.id'], name=op.f('fk_image_model')),
    sa.ForeignKeyConstraint(['negative_prompt'], ['prompt.id'], name=op.f('fk_image_negative_prompt')),
    sa.ForeignKeyConstraint(['plan'], ['plan.id'], name=op.f('fk_image_plan')),
    sa.ForeignKeyConstraint(['prompt'], ['prompt.id'], name=op.f('fk_image_prompt')),
    sa.PrimaryKeyConstraint('job', 'number', name=op.f('pk_image'))
    )
    with op.batch_alter_table('image', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_image_job_recorded_at'), ['job', 'recorded_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_image_job_state'), ['job', 'state'], unique=False)
        batch_op.create_index(batch_op.f('ix_image_pixel_sha256'), ['pixel_sha256'], unique=False)
        batch_op.create_index(batch_op.f('ix_image_recipe_hash'), ['recipe_hash'], unique=False)

    op.create_table('job_plan',
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('plan', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_job_plan_job')),
    sa.ForeignKeyConstraint(['plan'], ['plan.id'], name=op.f('fk_job_plan_plan')),
    sa.PrimaryKeyConstraint('job', 'width', 'height', name=op.f('pk_job_plan'))
    )
    op.create_table('attempt',
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('chunk', sa.Integer(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('node', sa.Text(), nullable=False),
    sa.Column('boot', sa.Text(), nullable=False),
    sa.Column('issued_at', sa.Float(), nullable=False),
    sa.Column('ended_at', sa.Float(), nullable=True),
    sa.Column('outcome', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['job', 'chunk'], ['chunk.job', 'chunk.number'], name=op.f('fk_attempt_job_chunk')),
    sa.PrimaryKeyConstraint('job', 'chunk', 'attempt', name=op.f('pk_attempt'))
    )

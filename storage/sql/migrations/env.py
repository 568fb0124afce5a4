"""Alembic's entry: runs inside the transaction that Database.prepare holds."""

from alembic import context

from storage.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter tables in place
)
context.run_migrations()

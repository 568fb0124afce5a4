"""SQL: the truth about jobs, chunks and images. One set of tables and queries for SQLite and PostgreSQL.

Only the dispatcher's side uses it; a worker never does.
"""

from storage.sql.database import Database, open_database

__all__ = ["Database", "open_database"]

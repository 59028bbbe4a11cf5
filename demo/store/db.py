"""Engine and sessions, configured by DATABASE_URL."""

import os
import sqlite3
import time
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///./store.db")
LOCK_TIMEOUT_SECONDS = 30

# Endpoints run in a pool of 40 threads and each holds one connection at most.
MAX_CONNECTIONS = 40


def _use_write_ahead_log(cursor: Any) -> None:
    """Switch the file to WAL. Workers that do so at once get "locked" at once: the busy timeout does not cover this."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _set_sqlite_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_SECONDS * 1000}")
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def build_engine(url: str) -> Engine:
    """Create an engine whose pool can serve every worker thread at once."""
    is_sqlite = url.startswith("sqlite")
    connect_args = {"timeout": LOCK_TIMEOUT_SECONDS} if is_sqlite else {}
    built = create_engine(
        url,
        pool_size=MAX_CONNECTIONS // 2,
        max_overflow=MAX_CONNECTIONS // 2,
        connect_args=connect_args,
    )
    if is_sqlite:
        event.listen(built, "connect", _set_sqlite_pragmas)
    return built


engine = build_engine(DATABASE_URL)
open_session: sessionmaker[Session] = sessionmaker(engine)

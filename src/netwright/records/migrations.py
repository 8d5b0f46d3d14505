"""The tables of the run store, as they became: frozen steps, of which a store of any age takes those that it lacks."""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    inspect,
    text,
)

from netwright.core.errors import NetwrightError

CREATION = 0x6E657477  # the number of the PostgreSQL lock under which tables are made and changed


def _runs(connection: Connection) -> None:
    tables = MetaData()
    Table("schema_version", tables, Column("version", Integer, primary_key=True, autoincrement=False))
    Table(
        "runs",
        tables,
        Column("id", Integer, primary_key=True),
        Column("key", String, nullable=False, index=True),
        Column("name", String, nullable=False),
        Column("path", String, nullable=False),
        Column("created", DateTime(timezone=True), nullable=False),
        Column("finished", DateTime(timezone=True)),
        Column("status", String, nullable=False),
        Column("recipe", JSON, nullable=False),
        Column("metrics", JSON, nullable=False),
        Column("seed", Integer, nullable=False),
        Column("model", String, nullable=False),
        Column("data", String, nullable=False),
    )
    _create(tables, connection)
    connection.execute(text("INSERT INTO schema_version (version) VALUES (0)"))


def _outcomes(connection: Connection) -> None:
    tables = MetaData()
    Table(
        "outcomes",
        tables,
        Column("key", String, primary_key=True),
        Column("status", String, nullable=False),
        Column("seed", BigInteger, nullable=False),
        Column("data", String, nullable=False),
        Column("recipe", JSON, nullable=False),
        Column("owner", String),
        Column("claimed", DateTime(timezone=True), nullable=False, index=True),
        Column("until", DateTime(timezone=True)),
        Column("attempts", Integer, nullable=False),
        Column("finished", DateTime(timezone=True)),
        Column("problem", String, nullable=False),
        Column("summary", JSON, nullable=False),
        Column("digest", LargeBinary),
        Column("content", LargeBinary),
    )
    _create(tables, connection)
    if connection.dialect.name == "postgresql":  # whose integers end at 2^31; SQLite's end at 2^63, as seeds do
        connection.execute(text("ALTER TABLE runs ALTER COLUMN seed TYPE BIGINT"))


def _create(tables: MetaData, connection: Connection) -> None:
    there = inspect(connection).get_table_names()
    if others := [table for table in tables.tables if table in there]:
        problem = f"the database has tables of another program with the names {', '.join(others)}"
        raise NetwrightError(problem, "give the run store a database of its own")
    tables.create_all(connection)


# Only ever append: a step that somebody's store has taken is never changed again.
STEPS: Sequence[Callable[[Connection], None]] = (_runs, _outcomes)
VERSION = len(STEPS)


def migrate(connection: Connection) -> None:
    """Take the steps that a store has not taken, all of them or none; many processes may ask for it at once.

    Args:
        connection: in a transaction, which on SQLite already writes.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({CREATION})"))
    for number in range(version_of(connection), VERSION):  # another process may have taken them while this one waited
        STEPS[number](connection)
        connection.execute(text("UPDATE schema_version SET version = :now"), {"now": number + 1})


def is_old(connection: Connection, store: str) -> bool:
    """Whether steps are missing.

    Args:
        connection: to the store.
        store: its address, for the error.

    Raises:
        NetwrightError: a newer netwright wrote it.
    """
    version = version_of(connection)
    if version > VERSION:
        problem = f"{store} was written by a newer netwright (version {version} of its tables, here {VERSION})"
        raise NetwrightError(problem, "update netwright: pip install --upgrade netwright")
    return version < VERSION


def version_of(connection: Connection) -> int:
    """How many steps a store has taken; 0 where there are no tables of ours."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    return connection.scalar(text("SELECT version FROM schema_version")) or 0

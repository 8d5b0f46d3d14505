"""The run store: one row a run, so that runs can be listed and found without opening folders. SQLite or PostgreSQL."""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, DateTime, Dialect, Engine, create_engine, event, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from netwright.core.errors import NetwrightError
from netwright.records.atomic import disk_errors
from netwright.records.plain import plain

VERSION = 1
PATIENCE = 60  # seconds a writer waits for the others
CREATION = 0x6E657477  # the number of the PostgreSQL lock under which tables are made


class Utc(TypeDecorator[datetime]):
    """A time with its zone; SQLite forgets zones, so it is stored as UTC and comes back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return value and (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


class Base(DeclarativeBase):
    """The tables of the store."""

    type_annotation_map = {dict[str, Any]: JSON, datetime: Utc}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Schema(Base):
    """One row: which version of the tables this is."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class StoredRun(Base):
    """One run. `key` is the hash of its recipe: runs that differ in nothing but the folder share it."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    path: Mapped[str]
    created: Mapped[datetime]
    finished: Mapped[datetime | None]
    status: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    seed: Mapped[int]
    model: Mapped[str]
    data: Mapped[str]


class RunStore:
    """The runs of one output folder, or of a team.

    Args:
        url: where the store is, as SQLAlchemy writes it; `RunStore.beside(output)` is the usual one.

    Raises:
        NetwrightError: it cannot be reached, or was written by a newer netwright.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = url
        with self._explained():
            self._engine = _engine(url)
            self._prepare()

    @classmethod
    def beside(cls, output: Path) -> "RunStore":
        """The store of an output folder: `runs.db` in it."""
        with disk_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        return cls(URL.create("sqlite", database=str((output / "runs.db").absolute())))

    def add(
        self, *, key: str, name: str, path: Path, recipe: Mapping[str, Any], seed: int, model: str, data: str
    ) -> int:
        """Enter a run, or what has become of the one in this folder; the number that comes back is its `id`.

        Args:
            key: the hash of the recipe.
            name: what people call the run.
            path: its folder.
            recipe: every field of the recipe.
            seed: of the run.
            model: the spec of the model.
            data: the fingerprint of the data.
        """
        place = os.fsencode(path).decode(errors="backslashreplace")  # a name on disk need not be valid text
        newest = select(StoredRun).where(StoredRun.path == place).order_by(StoredRun.id.desc())
        with self._explained(), Session(self._engine) as session, session.begin():
            run = session.scalar(newest) or StoredRun(path=place, created=datetime.now(UTC))
            run.key, run.name, run.recipe, run.seed, run.model, run.data = key, name, plain(recipe), seed, model, data
            run.finished, run.status, run.metrics = None, "running", {}
            session.add(run)
            session.flush()
            return run.id

    def finish(self, id: int, *, status: str, metrics: Mapping[str, Any]) -> None:
        """Enter how a run ended, and its final metrics.

        Raises:
            NetwrightError: there is no such run.
        """
        with self._explained(), Session(self._engine) as session, session.begin():
            run = session.get(StoredRun, id)
            if run is None:
                raise NetwrightError(f"there is no run {id} in {self}", "pass the id that add() gave")
            run.finished, run.status, run.metrics = datetime.now(UTC), status, plain(metrics)

    def list(self, limit: int = 20) -> Sequence[StoredRun]:
        """The newest runs, newest first."""
        with self._explained(), Session(self._engine) as session:
            return session.scalars(select(StoredRun).order_by(StoredRun.id.desc()).limit(limit)).all()

    def find(self, key: str) -> Sequence[StoredRun]:
        """The runs whose recipe's hash starts with `key`, newest first."""
        matching = StoredRun.key.startswith(key, autoescape=True)
        with self._explained(), Session(self._engine) as session:
            return session.scalars(select(StoredRun).where(matching).order_by(StoredRun.id.desc())).all()

    def __str__(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)

    def _prepare(self) -> None:
        with Session(self._engine) as session, session.begin():
            if self._engine.dialect.name == "postgresql":
                session.execute(text(f"SELECT pg_advisory_xact_lock({CREATION})"))
            Base.metadata.create_all(session.connection())
            version = session.scalar(select(Schema.version))
            if version is None:
                session.add(Schema(version=VERSION))
            elif version > VERSION:
                problem = f"{self} was written by a newer netwright (version {version} of its tables, here {VERSION})"
                raise NetwrightError(problem, "update netwright: pip install --upgrade netwright")

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (ArgumentError, NoSuchModuleError) as error:
            fix = "write sqlite:///runs.db, or postgresql+psycopg://user:password@host/database"
            raise NetwrightError(f"cannot read the address of the run store: {error}", fix) from error
        except ModuleNotFoundError as error:
            raise NetwrightError(f"the run store needs {error.name}", f"pip install {error.name}") from error
        except DBAPIError as error:
            fix = "check that the disk has room or the server runs, and that you may write there; or pass --output"
            raise NetwrightError(f"the run store cannot be used: {error.orig}", fix) from error


def _engine(url: str | URL) -> Engine:
    # Without a pool no connection outlives its transaction, so a fork can never inherit one.
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")
    # Set once and kept in the file. Asking again would need the file alone, and may fail at once when it is not.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _try_wal(connection)


def _try_wal(connection: Any) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except connection.OperationalError:
        # Another process is setting it this moment, or the disk cannot: both are correct without it, only slower.
        return


def _on_begin(connection: Any) -> None:
    # A transaction that starts as a reader and then writes is refused without waiting; starting as a writer it waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

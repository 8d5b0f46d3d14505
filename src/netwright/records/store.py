"""The run store: one row a run, so that runs can be listed and found without opening folders. SQLite or PostgreSQL."""

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    JSON,
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from netwright.core.errors import NetwrightError
from netwright.records.atomic import disk_errors
from netwright.records.migrations import is_old, migrate
from netwright.records.plain import plain

PATIENCE = 60  # seconds a writer waits for the others
REACH = 10  # seconds a server has to answer
READS = {"reads": True}  # said of transactions that write nothing
# Of a URL: between the colon behind its user and its last @, spaces too if need be. A port is no password.
PORT = r"""(?!\d+(?:[\s'"]|$|/[^\s@]*(?:\s|$)))"""
IN_URL = re.compile(
    r"""([a-z][\w+.-]*:/{1,2}[^\s:/'"]*:)""" + PORT + r"((?:(?!://)\S)+@|(?:(?!://)[^@\n])+@)", re.IGNORECASE
)
IN_REST = re.compile(r"""(?<![^\s'"=,;(\[{<])([^\s:@/'"=]+:)(?![/\s])""" + PORT + r"(?:(?!://)\S)+@")  # a URL misspelt
IN_QUERY = re.compile(r"""([?&;]\w*(?:password|passwd|pwd|token)=)[^\s&;'"]+""", re.IGNORECASE)
RUINED = ("not a database", "malformed")  # what SQLite says of a file that is none of its own, or no longer
ADDRESS = "write sqlite:///runs.db, or postgresql+psycopg://user:password@host/database"


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
    """The tables of the store, as the last step of `migrations` leaves them."""

    type_annotation_map = {dict[str, Any]: JSON, datetime: Utc}  # noqa: RUF012 - SQLAlchemy reads it from the class


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
    seed: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str]
    data: Mapped[str]


class Store:
    """A database of ours, brought up to date when it is opened. Threads and processes may share one, and hand it on.

    Args:
        url: where it is, as SQLAlchemy writes it; `Store.beside(output)` is the usual one.

    Raises:
        NetwrightError: it cannot be reached, or was written by a newer netwright.
    """

    def __init__(self, url: str | URL) -> None:
        with self._explained():
            self._address = _address(url)
            self._engine = _engine(self._address)
            with self._engine.execution_options(**READS).connect() as connection:
                old = is_old(connection, str(self))
            if old:
                with self._engine.begin() as connection:
                    migrate(connection)

    @classmethod
    def beside(cls, output: Path) -> Self:
        """The store of an output folder: `runs.db` in it."""
        with disk_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        return cls(URL.create("sqlite", database=str((output / "runs.db").absolute())))

    @property
    def url(self) -> str:
        """The address as text, with its password: to be handed to another process, and shown to nobody.

        Raises:
            NetwrightError: it lies in a folder whose name is no valid text.
        """
        try:
            return self._address.render_as_string(hide_password=False)
        except UnicodeEncodeError as error:
            problem = f"no other process can be told where {self} is: a folder's name is not valid text"
            raise NetwrightError(problem, "rename the folder, or name another with --output or --store") from error

    def __str__(self) -> str:
        name = os.fsencode(self._address.database or "").decode(errors="backslashreplace")
        return masked(self._address.set(database=name).render_as_string(hide_password=False))

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.url,)

    @contextmanager
    def _writing(self) -> Generator[Session]:
        with self._explained(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _reading(self) -> Generator[Session]:
        with self._explained(), Session(self._engine.execution_options(**READS)) as session:
            yield session

    def _now(self, session: Session) -> datetime:
        """By the clock of the database: machines that share one need not agree on the time."""
        if self._engine.dialect.name == "postgresql":
            return session.scalars(select(func.clock_timestamp(type_=Utc))).one()
        told = session.scalars(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).one()
        return datetime.fromisoformat(told).replace(tzinfo=UTC)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (ArgumentError, NoSuchModuleError) as error:
            problem = f"cannot read the address of the run store: {masked(str(error))}"
            raise NetwrightError(problem, ADDRESS) from error
        except ModuleNotFoundError as error:
            fix = "pip install 'netwright[postgres]'" if error.name == "psycopg" else f"pip install {error.name}"
            raise NetwrightError(f"the run store needs {error.name}", fix) from error
        except DBAPIError as error:
            why = masked(str(error.orig))
            raise NetwrightError(f"the run store cannot be used: {why}", self._mending(why)) from error

    def _mending(self, why: str) -> str:
        """What to do where the database refuses."""
        if not self._address.drivername.startswith("sqlite"):
            return "check that the server runs and lets you in; or keep the runs elsewhere (--output, --store)"
        if any(words in why for words in RUINED):
            return f"move {self._address.database} away, or put a backup in its place: it is no store, or damaged"
        cause = "the disk has room, and that you may write there"
        return f"check that {cause}; or keep the runs elsewhere (--output, --store)"


class RunStore(Store):
    """The runs of one output folder, or of a team."""

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
        with self._writing() as session:
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
        with self._writing() as session:
            run = session.get(StoredRun, id)
            if run is None:
                raise NetwrightError(f"there is no run {id} in {self}", "pass the id that add() gave")
            run.finished, run.status, run.metrics = datetime.now(UTC), status, plain(metrics)

    def list(self, limit: int = 20) -> Sequence[StoredRun]:
        """The newest runs, newest first."""
        with self._reading() as session:
            return session.scalars(select(StoredRun).order_by(StoredRun.id.desc()).limit(limit)).all()

    def find(self, key: str) -> Sequence[StoredRun]:
        """The runs whose recipe's hash starts with `key`, newest first."""
        matching = StoredRun.key.startswith(key, autoescape=True)
        with self._reading() as session:
            return session.scalars(select(StoredRun).where(matching).order_by(StoredRun.id.desc())).all()


def masked(text: str) -> str:
    """A text with the password of every URL in it hidden, as postgresql://user:***@host/lab; the rest as it was."""
    for part in (IN_URL, IN_REST):
        text = part.sub(r"\1***@", text)
    return IN_QUERY.sub(r"\1***", text)


def _address(url: str | URL) -> URL:
    try:
        address = make_url(url)
    except ValueError as error:
        raise ArgumentError("its port is no number") from error
    kind, _, driver = address.drivername.partition("+")
    if kind in ("postgres", "postgresql") and not driver:  # one has said nothing of drivers, and there is only ours
        address = address.set(drivername="postgresql+psycopg")
    elif kind not in ("sqlite", "postgresql"):
        raise ArgumentError(f"it is kept in SQLite or PostgreSQL, not in {kind}")
    if kind == "postgresql" and "@" in f"{address.host}{address.database}":
        shown = str(url).rpartition("@")[2]
        raise ArgumentError(
            f"there is more than one @ before {shown}; in a password write @ as %40, / as %2F, : as %3A"
        )
    if kind == "sqlite" and address.database in (None, "", ":memory:"):
        raise ArgumentError("a database in memory is gone with its connection, so no run would be found again")
    if kind == "sqlite" and not str(address.database).startswith("file:"):  # another process may stand elsewhere
        address = address.set(database=str(Path(str(address.database)).absolute()))
    return address


def _engine(address: URL) -> Engine:
    # Without a pool no connection outlives its transaction, so a fork can never inherit one.
    if address.drivername == "postgresql+psycopg" and "connect_timeout" not in address.query:
        address = address.update_query_dict({"connect_timeout": str(REACH)})
    engine = create_engine(address, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.create_function("sha256", 1, _digest, deterministic=True)  # as PostgreSQL has
    connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")
    # Set once and kept in the file. Asking again would need the file alone, and may fail at once when it is not.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _try_wal(connection)


def _digest(content: bytes | None) -> bytes | None:
    return None if content is None else sha256(content).digest()


def _try_wal(connection: Any) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except connection.OperationalError:
        # Another process is setting it this moment, or the disk cannot: both are correct without it, only slower.
        return


def _on_begin(connection: Connection) -> None:
    # A transaction that starts as a reader and then writes is refused without waiting; starting as a writer it waits.
    # One that only reads waits for no writer.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")

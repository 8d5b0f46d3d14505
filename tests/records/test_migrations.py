"""Stores of every age: an old one is brought up to date once, whole, and keeps its rows; a newer one is refused."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from netwright.core.errors import NetwrightError
from netwright.records import migrations
from netwright.records.migrations import STEPS, VERSION, migrate, version_of
from netwright.records.outcomes import OutcomeStore
from netwright.records.store import Base, RunStore
from tests.forked import exit_code, forked

# What netwright 0.1.0 sent to a new database, and a run as it wrote it. Never to be changed.
OLD = {
    "sqlite": """
        CREATE TABLE runs (id INTEGER NOT NULL, "key" VARCHAR NOT NULL, name VARCHAR NOT NULL, path VARCHAR NOT NULL,
            created DATETIME NOT NULL, finished DATETIME, status VARCHAR NOT NULL, recipe JSON NOT NULL,
            metrics JSON NOT NULL, seed INTEGER NOT NULL, model VARCHAR NOT NULL, data VARCHAR NOT NULL,
            PRIMARY KEY (id));
        CREATE INDEX ix_runs_key ON runs ("key");
        CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
        INSERT INTO schema_version (version) VALUES (1)""",
    "postgresql": """
        CREATE TABLE runs (id SERIAL NOT NULL, key VARCHAR NOT NULL, name VARCHAR NOT NULL, path VARCHAR NOT NULL,
            created TIMESTAMP WITH TIME ZONE NOT NULL, finished TIMESTAMP WITH TIME ZONE, status VARCHAR NOT NULL,
            recipe JSON NOT NULL, metrics JSON NOT NULL, seed INTEGER NOT NULL, model VARCHAR NOT NULL,
            data VARCHAR NOT NULL, PRIMARY KEY (id));
        CREATE INDEX ix_runs_key ON runs (key);
        CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
        INSERT INTO schema_version (version) VALUES (1)""",
}
RUN = """INSERT INTO runs (key, name, path, created, finished, status, recipe, metrics, seed, model, data) VALUES
    ('k1', 'photos', 'runs/1', '2026-11-20 10:00:00.000000{zone}', '2026-11-20 10:01:00.000000{zone}', 'done',
    '{{"lr": 0.1}}', '{{"accuracy": 0.5}}', 3, 'resnet18', 'f00d')"""


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def old(engine: Engine) -> Engine:
    """A database of version 1 with one run."""
    kind = engine.dialect.name
    with engine.begin() as connection:
        for words in OLD[kind].split(";"):
            connection.exec_driver_sql(words)
        connection.exec_driver_sql(RUN.format(zone="+00:00" if kind == "postgresql" else ""))
    return engine


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def version(engine: Engine) -> int:
    with engine.connect() as connection:
        return version_of(connection)


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_a_new_database_takes_every_step(engine: Engine) -> None:
    RunStore(address(engine))
    assert version(engine) == VERSION == len(STEPS) == 2
    assert tables(engine) == {"schema_version", "runs", "outcomes"}


def test_an_old_one_keeps_its_rows_and_gets_what_is_new(old: Engine) -> None:
    (run,) = RunStore(address(old)).list()
    assert version(old) == VERSION
    assert (run.id, run.key, run.status, run.seed) == (1, "k1", "done", 3)
    assert (run.recipe, run.metrics) == ({"lr": 0.1}, {"accuracy": 0.5})
    assert run.created == datetime(2026, 11, 20, 10, tzinfo=UTC)
    store = RunStore(address(old))
    fields: dict[str, Any] = {"key": "k2", "name": "n", "recipe": {}, "model": "m", "data": "d"}
    assert store.add(path=Path("runs/2"), seed=2**63 - 1, **fields) == 2
    assert OutcomeStore(address(old)).claim("a", "me", recipe={}, seed=0, data="")


def described(engine: Engine) -> dict[str, Any]:
    seen = inspect(engine)
    kind = engine.dialect.name
    return {
        table: (
            [
                (column["name"], column["nullable"], str(column["type"]) if kind == "postgresql" else "")
                for column in seen.get_columns(table)
            ],
            seen.get_pk_constraint(table)["constrained_columns"],
            sorted((index["name"] or "", tuple(index["column_names"])) for index in seen.get_indexes(table)),
        )
        for table in Base.metadata.tables
    }


def test_the_steps_end_where_the_models_are(old: Engine) -> None:
    RunStore(address(old))
    migrated = described(old)
    with old.begin() as connection:
        for table in (*Base.metadata.tables, "schema_version"):
            connection.execute(text(f"DROP TABLE {table}"))
        Base.metadata.create_all(connection)
    assert described(old) == migrated


def test_a_newer_one_is_refused_and_left_alone(old: Engine) -> None:
    with old.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    with pytest.raises(NetwrightError, match=f"newer netwright.*version 99 .*here {VERSION}") as caught:
        RunStore(address(old))
    assert "***" in str(caught.value) or old.dialect.name == "sqlite"
    assert tables(old) == {"schema_version", "runs"}


def test_another_programs_tables_are_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE runs (id INTEGER)"))
    with pytest.raises(NetwrightError, match="another program with the names runs") as caught:
        RunStore(address(engine))
    assert caught.value.fix == "give the run store a database of its own"
    assert tables(engine) == {"runs"}


def slow(step: Callable[[Connection], None], taken: Path) -> Callable[[Connection], None]:
    def wrapped(connection: Connection) -> None:
        step(connection)
        with taken.open("a") as file:
            file.write("step\n")

    return wrapped


def test_processes_that_open_it_at_once_migrate_it_once(
    old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    monkeypatch.setattr(migrations, "STEPS", (STEPS[0], slow(STEPS[1], taken)))
    reading, writing = os.pipe()

    def opens() -> None:
        os.close(writing)
        os.read(reading, 1)  # returns for all of them when the parent closes its end
        assert [run.key for run in RunStore(address(old)).list()] == ["k1"]

    children = [forked(opens) for _ in range(4)]
    os.close(reading)
    os.close(writing)
    assert [exit_code(child) for child in children] == [0] * 4
    assert taken.read_text() == "step\n"
    assert version(old) == VERSION


@pytest.mark.parametrize("ending", ["killed", "fails"])
def test_a_step_that_does_not_end_leaves_the_old_version_whole(
    old: Engine, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    def ends(connection: Connection) -> None:
        STEPS[1](connection)
        connection.execute(text("UPDATE runs SET name = 'changed'"))
        if ending == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        connection.execute(text("SELECT nonsense FROM runs"))

    with monkeypatch.context() as during:
        during.setattr(migrations, "STEPS", (STEPS[0], ends))
        if ending == "killed":
            assert exit_code(forked(lambda: RunStore(address(old)))) == -signal.SIGKILL
        else:
            with pytest.raises(NetwrightError, match="nonsense"):
                RunStore(address(old))
    assert version(old) == 1
    assert tables(old) == {"schema_version", "runs"}
    (run,) = RunStore(address(old)).list()
    assert run.name == "photos"
    assert version(old) == VERSION


def test_steps_are_taken_in_order_from_where_the_store_is(old: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def step(number: int) -> Callable[[Connection], None]:
        return lambda connection: seen.append((number, version_of(connection)))

    monkeypatch.setattr(migrations, "STEPS", tuple(step(number) for number in range(4)))
    monkeypatch.setattr(migrations, "VERSION", 4)
    with old.begin() as connection:
        migrate(connection)
        migrate(connection)
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert version(old) == 4

"""The run store: many writers, old and newer files, and addresses that lead nowhere."""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from netwright.core.errors import NetwrightError
from netwright.records.migrations import VERSION
from netwright.records.store import RunStore, masked
from tests.forked import exit_code, forked


def enter(store: RunStore, number: int = 0, **other: Any) -> int:
    fields: dict[str, Any] = {"key": f"key{number}", "name": "photos", "recipe": {"lr": 0.1}, "seed": number}
    return store.add(**(fields | {"path": Path(f"runs/{number}"), "model": "resnet18", "data": "f00d"} | other))


def test_a_run_from_start_to_end(url: str) -> None:
    store = RunStore(url)
    number = enter(store, recipe={"lr": 0.1, "size": (2, 3)})
    (run,) = store.list()
    assert (run.id, run.status, run.finished, run.metrics) == (number, "running", None, {})
    assert run.recipe == {"lr": 0.1, "size": [2, 3]}
    store.finish(number, status="done", metrics={"accuracy": 0.5, "loss": float("nan")})
    (run,) = RunStore(url).list()
    assert run.status == "done"
    assert run.metrics == {"accuracy": 0.5, "loss": None}
    assert run.finished is not None
    assert run.finished.tzinfo is not None
    assert run.finished >= run.created


def test_a_run_that_is_there_keeps_its_row(url: str) -> None:
    store, path = RunStore(url), Path(os.fsdecode(b"runs/\xff"))
    number = enter(store, path=path)
    store.finish(number, status="done", metrics={"accuracy": 0.5})
    other, created = enter(store, 1), store.find("key0")[0].created
    assert enter(store, path=path, key="longer", recipe={"epochs": 5}) == number
    (longer,) = store.find("longer")
    assert (longer.created, longer.status, longer.recipe) == (created, "running", {"epochs": 5})
    assert [run.id for run in store.list()] == [other, number]


def test_list_is_newest_first_and_limited(url: str) -> None:
    store = RunStore(url)
    for number in range(5):
        enter(store, number)
    assert [run.seed for run in store.list(3)] == [4, 3, 2]


def test_find_by_the_start_of_a_key(url: str) -> None:
    store = RunStore(url)
    enter(store, 1, key="abc123")
    enter(store, 2, key="abc123")
    enter(store, 3, key="def456")
    assert [run.seed for run in store.find("abc")] == [2, 1]
    assert store.find("%") == []


def test_finish_of_an_unknown_run(url: str) -> None:
    with pytest.raises(NetwrightError, match="there is no run 7"):
        RunStore(url).finish(7, status="done", metrics={})


def test_four_processes_write_ten_rows_each_into_a_new_store(url: str) -> None:
    def work() -> None:
        for seed in range(10):
            store = RunStore(url)
            number = enter(store, seed, path=Path(f"{os.getpid()}-{seed}"))
            store.finish(number, status="done", metrics={"seed": seed})

    children = [forked(work) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    runs = RunStore(url).list(100)
    assert len(runs) == 40
    assert all(run.status == "done" and run.metrics == {"seed": run.seed} for run in runs)


def test_sqlite_writes_ahead(tmp_path: Path) -> None:
    RunStore.beside(tmp_path)
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(VERSION,)]
    connection.close()


def test_readers_wait_for_no_writer(tmp_path: Path) -> None:
    store = RunStore.beside(tmp_path)
    enter(store)
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM runs")
    assert [run.seed for run in RunStore.beside(tmp_path).list()] == [0]
    assert len(store.find("key0")) == 1
    connection.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    RunStore.beside(tmp_path)
    connection = sqlite3.connect(tmp_path / "runs.db")
    with connection:
        connection.execute("UPDATE schema_version SET version = ?", (VERSION + 1,))
    connection.close()
    with pytest.raises(NetwrightError, match="newer netwright"):
        RunStore.beside(tmp_path)


def test_beside_an_output_folder_that_is_new(tmp_path: Path) -> None:
    store = RunStore.beside(tmp_path / "new")
    assert store.url == f"sqlite:///{tmp_path / 'new' / 'runs.db'}"
    assert (tmp_path / "new" / "runs.db").exists()


def test_an_address_that_holds_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunStore("sqlite:///runs.db").url == RunStore(f"sqlite:///{tmp_path}/runs.db").url


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nonsense", "cannot read the address"),
        ("wonderdb://x/y", "SQLite or PostgreSQL, not in wonderdb"),
        ("mysql://x/y", "SQLite or PostgreSQL, not in mysql"),
        ("postgresql+nodriver://x/y", "cannot read the address"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////no/such/folder/runs.db", "cannot be used"),
    ],
)
def test_an_address_that_leads_nowhere(address: str, problem: str) -> None:
    with pytest.raises(NetwrightError, match=problem) as caught:
        RunStore(address)
    assert caught.value.fix


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_the_driver_that_we_have(postgresql: str, scheme: str) -> None:
    store = RunStore(postgresql.replace("postgresql+psycopg:", f"{scheme}:"))
    assert store.url == postgresql
    assert len(store.list()) == 0
    assert str(make_url(postgresql).password) not in str(store)


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("not a database " * 100)
    with pytest.raises(NetwrightError, match="cannot be used"):
        RunStore.beside(tmp_path)


# With the driver the server cannot be reached, without it the driver is named; nothing may tell the password.
@pytest.mark.parametrize("before", ["postgresql+psycopg://", "wonderdb://", "postgresql//", "postgresql:://", ""])
@pytest.mark.parametrize("password", ["secret", "a:secret@b", "a/secret"])
def test_password_is_never_shown(before: str, password: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        RunStore(f"{before}me:{password}@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    assert caught.value.fix


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(NetwrightError, match="the run store needs psycopg") as caught:
        RunStore("postgresql://me@127.0.0.1:1/x")
    assert caught.value.fix == "pip install 'netwright[postgres]'"


def test_a_wrong_password_is_told_without_it(postgresql: str) -> None:
    url = make_url(postgresql).set(password="wrong-one")
    with pytest.raises(NetwrightError, match="password authentication failed") as caught:
        RunStore(url)
    assert "wrong-one" not in str(caught.value)
    assert "lets you in" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:pw@host:5432/lab", "postgresql+psycopg://me:***@host:5432/lab"),
        ("--store=postgresql://me:p@ss:w/rd@host/lab", "--store=postgresql://me:***@host/lab"),
        ("'postgresql://me:p w@host/lab' -o a", "'postgresql://me:***@host/lab' -o a"),
        ("postgresql://me@server:pw@host/lab", "postgresql://me@server:***@host/lab"),
        ("a postgresql://a:x@h, then postgresql://b:y@i", "a postgresql://a:***@h, then postgresql://b:***@i"),
        ("postgresql:me:pw@host", "postgresql:***@host"),
        ("postgresql://host/lab?user=me&password=pw&x=1", "postgresql://host/lab?user=me&password=***&x=1"),
        ("--on ray://head:10001 --note me@home", None),
        ("postgresql://me@host:5432/lab of me@home", None),
        ("sqlite:////data/a:b@c/runs.db", None),
        ("12:30:45 fix: ask me@home, lr=1: a@b", None),
    ],
)
def test_passwords_of_urls_are_masked_and_nothing_else(text: str, shown: str | None) -> None:
    assert masked(text) == (shown or text)


def test_an_at_in_a_password_is_explained_without_it() -> None:
    for password in ("zyx@secret", "zyx@se/cret", "zyx@"):
        with pytest.raises(NetwrightError, match="%40") as caught:
            RunStore(f"postgresql://me:{password}@host/lab")
        assert "host/lab" in str(caught.value)
        assert not any(part in caught.value.problem for part in ("zyx", "secret", "se/cret"))
    with pytest.raises(NetwrightError, match="port is no number"):
        RunStore("postgresql://me@host:pw/lab")


def test_a_file_that_is_no_store_is_to_be_moved_away(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(NetwrightError, match="not a database") as caught:
        RunStore.beside(tmp_path)
    assert f"move {tmp_path / 'runs.db'} away" in caught.value.fix and "disk" not in caught.value.fix

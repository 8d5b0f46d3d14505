"""The run store: many writers, old and newer files, and addresses that lead nowhere."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.records.store import VERSION, RunStore


def enter(store: RunStore, number: int = 0, **other: Any) -> int:
    fields: dict[str, Any] = {"key": f"key{number}", "name": "photos", "recipe": {"lr": 0.1}, "seed": number}
    return store.add(**(fields | {"path": Path(f"runs/{number}"), "model": "resnet18", "data": "f00d"} | other))


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    store = RunStore.beside(tmp_path / "new")
    number = enter(store, recipe={"lr": 0.1, "size": (2, 3)})
    (run,) = store.list()
    assert (run.id, run.status, run.finished, run.metrics) == (number, "running", None, {})
    assert run.recipe == {"lr": 0.1, "size": [2, 3]}
    store.finish(number, status="done", metrics={"accuracy": 0.5, "loss": float("nan")})
    (run,) = RunStore.beside(tmp_path / "new").list()
    assert run.status == "done"
    assert run.metrics == {"accuracy": 0.5, "loss": None}
    assert run.finished is not None
    assert run.finished.tzinfo is not None
    assert run.finished >= run.created


def test_a_run_that_is_there_keeps_its_row(tmp_path: Path) -> None:
    store, path = RunStore.beside(tmp_path), Path(os.fsdecode(b"runs/\xff"))
    number = enter(store, path=path)
    store.finish(number, status="done", metrics={"accuracy": 0.5})
    other, created = enter(store, 1), store.find("key0")[0].created
    assert enter(store, path=path, key="longer", recipe={"epochs": 5}) == number
    (longer,) = store.find("longer")
    assert (longer.created, longer.status, longer.recipe) == (created, "running", {"epochs": 5})
    assert [run.id for run in store.list()] == [other, number]


def test_list_is_newest_first_and_limited(tmp_path: Path) -> None:
    store = RunStore.beside(tmp_path)
    for number in range(5):
        enter(store, number)
    assert [run.seed for run in store.list(3)] == [4, 3, 2]


def test_find_by_the_start_of_a_key(tmp_path: Path) -> None:
    store = RunStore.beside(tmp_path)
    enter(store, 1, key="abc123")
    enter(store, 2, key="abc123")
    enter(store, 3, key="def456")
    assert [run.seed for run in store.find("abc")] == [2, 1]
    assert store.find("%") == []


def test_finish_of_an_unknown_run(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="there is no run 7"):
        RunStore.beside(tmp_path).finish(7, status="done", metrics={})


def test_four_processes_write_ten_rows_each_into_a_new_store(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from netwright.records.store import RunStore
for seed in range(10):
    store = RunStore.beside(Path({str(tmp_path)!r}))
    path = Path(f"{{os.getpid()}}-{{seed}}")
    number = store.add(key="k", name="n", path=path, recipe={{}}, seed=seed, model="m", data="d")
    store.finish(number, status="done", metrics={{"seed": seed}})
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate()[1] for process in started]
    assert errors == [""] * 4
    runs = RunStore.beside(tmp_path).list(100)
    assert len(runs) == 40
    assert all(run.status == "done" and run.metrics == {"seed": run.seed} for run in runs)


def test_sqlite_writes_ahead(tmp_path: Path) -> None:
    RunStore.beside(tmp_path)
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(VERSION,)]
    connection.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    RunStore.beside(tmp_path)
    connection = sqlite3.connect(tmp_path / "runs.db")
    with connection:
        connection.execute("UPDATE schema_version SET version = ?", (VERSION + 1,))
    connection.close()
    with pytest.raises(NetwrightError, match="newer netwright"):
        RunStore.beside(tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "wonderdb://x/y", "sqlite:////no/such/folder/runs.db"])
def test_an_address_that_leads_nowhere(url: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        RunStore(url)
    assert caught.value.fix


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("not a database " * 100)
    with pytest.raises(NetwrightError, match="cannot be used"):
        RunStore.beside(tmp_path)


def test_password_is_never_shown() -> None:
    # With the driver the server cannot be reached, without it the driver is named; neither may tell the password.
    with pytest.raises(NetwrightError) as caught:
        RunStore("postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    assert caught.value.fix

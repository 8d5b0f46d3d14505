"""Outcomes in the run store: what is kept comes back, what is damaged does not, and nothing is computed twice."""

import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.pool import NullPool

from netwright.core.errors import NetwrightError
from netwright.records.outcomes import OutcomeStore
from netwright.records.store import Base, RunStore
from tests.forked import exit_code, forked

LONG = 1000.0
PAGE = Path(__file__).parents[2] / "docs" / "store.md"


def claimed(store: OutcomeStore, key: str = "a", owner: str = "me", **other: Any) -> bool:
    return store.claim(key, owner, **({"recipe": {"lr": 0.1}, "seed": 0, "data": "f00d", "lease": LONG} | other))


def done(store: OutcomeStore, key: str = "a", content: bytes = b"content") -> None:
    assert claimed(store, key)
    assert store.finish(key, "me", content, {"accuracy": 0.5})


def database(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def change(store: OutcomeStore, words: str, **values: Any) -> None:
    with database(store.url).begin() as connection:
        connection.execute(text(words), values)


def damage(store: OutcomeStore, key: str, content: bytes | None) -> None:
    change(store, "UPDATE outcomes SET content = :content WHERE key = :key", content=content, key=key)


@pytest.fixture
def store(url: str) -> OutcomeStore:
    return OutcomeStore(url)


class TestKeeping:
    def test_a_run_from_claim_to_content(self, store: OutcomeStore) -> None:
        content = bytes(range(256)) * 1000
        assert claimed(store, recipe={"lr": 0.1, "size": (2, 3)}, seed=2**63 - 1)
        (running,) = store.list()
        assert (running.status, running.owner, running.attempts, running.finished) == ("running", "me", 1, None)
        assert running.until == running.claimed + timedelta(seconds=LONG)
        assert store.finished(["a"]) == set()
        assert store.content("a") is None
        assert store.finish("a", "me", content, {"accuracy": 0.5, "loss": float("nan")})
        assert store.finished(["a", "b"]) == {"a"}
        assert store.content("a") == content
        assert store.contents(["a", "b"]) == {"a": content}
        (row,) = OutcomeStore(store.url).list()
        assert (row.status, row.seed, row.data, row.until) == ("done", 2**63 - 1, "f00d", None)
        assert row.recipe == {"lr": 0.1, "size": [2, 3]}
        assert row.summary == {"accuracy": 0.5, "loss": None}
        assert row.finished is not None
        assert row.finished >= row.claimed

    def test_the_first_outcome_stays(self, store: OutcomeStore) -> None:
        done(store)
        assert not store.finish("a", "you", b"other", {})
        assert store.content("a") == b"content"

    def test_empty_content_is_content(self, store: OutcomeStore) -> None:
        done(store, content=b"")
        assert store.finished(["a"]) == {"a"}
        assert store.content("a") == b""

    def test_more_keys_than_a_statement_may_name(self, sqlite: str) -> None:
        store = OutcomeStore(sqlite)
        done(store, "key-40000")
        keys = [f"key-{number}" for number in range(40_001)]
        assert store.finished(keys) == {"key-40000"}
        assert store.contents(keys) == {"key-40000": b"content"}
        assert store.renew(keys, "me") == set()

    def test_list_is_newest_first_limited_and_without_contents(self, store: OutcomeStore) -> None:
        for key in ("a", "b", "c"):
            done(store, key)
        change(store, "UPDATE outcomes SET claimed = :then WHERE key = 'b'", then=datetime(2100, 1, 1, tzinfo=UTC))
        newest, _ = store.list(2)
        assert newest.key == "b"
        with pytest.raises(DetachedInstanceError):
            _ = newest.content

    def test_finish_of_what_nobody_claimed(self, store: OutcomeStore) -> None:
        with pytest.raises(NetwrightError, match="nobody claimed run a") as caught:
            store.finish("a", "me", b"", {})
        assert "***" in str(caught.value) or "sqlite" in str(caught.value)

    def test_text_that_databases_refuse(self, store: OutcomeStore) -> None:
        assert claimed(store, data="\udcff\0", recipe={"path": "\udcff"})
        store.fail("a", "me", "cannot read \udcff\0.png")
        assert store.list()[0].problem == "cannot read \\udcff\\0.png"

    def test_beside_runs(self, url: str) -> None:
        runs, outcomes = RunStore(url), OutcomeStore(url)
        runs.add(key="k", name="n", path=Path("runs/k"), recipe={}, seed=2**63 - 1, model="m", data="d")
        done(outcomes)
        assert [run.seed for run in RunStore(url).list()] == [2**63 - 1]
        assert OutcomeStore(url).finished("a") == {"a"}


def test_the_owner_is_who_computes_it(store: OutcomeStore) -> None:
    assert store.owner("a") is None
    assert claimed(store, owner="you") and store.owner("a") == "you"
    store.release("a", "you")
    assert store.owner("a") is None
    done(store)
    assert store.owner("a") is None


class TestDamage:
    @pytest.mark.parametrize("content", [b"Content", b"", None])
    def test_is_told_counts_as_absent_and_is_mended(self, store: OutcomeStore, content: bytes | None) -> None:
        done(store)
        done(store, "b")
        damage(store, "a", content)
        with pytest.warns(RuntimeWarning, match="do not match their SHA-256") as told:
            assert store.finished(["a", "b"]) == {"b"}
        assert told[0].filename == __file__
        with pytest.warns(RuntimeWarning, match="1 in .* count as not run: a"):
            assert store.contents(["a", "b"]) == {"b": b"content"}
        with pytest.warns(RuntimeWarning, match="damaged outcomes"):
            assert store.content("a") is None
        assert claimed(store, owner="you")
        assert store.finish("a", "you", b"content", {})
        assert store.content("a") == b"content"
        assert store.list()[0].attempts + store.list()[1].attempts == 3

    def test_whoever_listens_hears_of_it_once(self, store: OutcomeStore) -> None:
        done(store)
        damage(store, "a", b"Content")
        told: list[str] = []
        store.told = told.append
        assert store.finished("a") == set() and store.contents("a") == {}
        assert len(told) == 1 and told[0].endswith("count as not run: a")

    def test_what_nobody_can_read_is_given_up(self, store: OutcomeStore) -> None:
        done(store)
        store.discard("a", b"another")
        assert store.content("a") == b"content"
        store.discard("a", b"content")
        assert store.content("a") is None and store.list()[0].status == "free"
        assert claimed(store, owner="you") and store.finish("a", "you", b"readable", {})
        assert store.content("a") == b"readable"

    def test_is_replaced_by_who_still_computed_it(self, store: OutcomeStore) -> None:
        done(store)
        damage(store, "a", b"Content")
        assert store.finish("a", "you", b"content", {})
        assert store.content("a") == b"content"

    def test_the_database_knows_the_same_hash(self, store: OutcomeStore) -> None:
        done(store)
        change(store, "UPDATE outcomes SET digest = :wrong", wrong=bytes(32))
        with pytest.warns(RuntimeWarning):
            assert store.finished(["a"]) == set()

    def test_a_disk_that_is_full(self, sqlite: str) -> None:
        store = OutcomeStore(sqlite)
        assert claimed(store)

        def few_pages(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA max_page_count = 20")

        event.listen(store._engine, "connect", few_pages)
        with pytest.raises(NetwrightError, match="full") as caught:
            store.finish("a", "me", os.urandom(1_000_000), {})
        assert "has room" in caught.value.fix
        event.remove(store._engine, "connect", few_pages)
        assert store.finish("a", "me", b"content", {})

    def test_a_disk_that_may_only_be_read(self, sqlite: str) -> None:
        done(OutcomeStore(sqlite))
        store = OutcomeStore(sqlite.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true")
        assert store.content("a") == b"content"
        with pytest.raises(NetwrightError, match="readonly") as caught:
            claimed(store, "b")
        assert "you may write there" in caught.value.fix

    def test_a_file_with_a_torn_page(self, sqlite: str, tmp_path: Path) -> None:
        store = OutcomeStore(sqlite)
        done(store, content=os.urandom(100_000))
        with database(sqlite).connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        pages = bytearray((tmp_path / "runs.db").read_bytes())
        pages[4096:] = bytes(len(pages) - 4096)
        (tmp_path / "runs.db").write_bytes(pages)
        with pytest.raises(NetwrightError, match="malformed"):
            store.content("a")


class TestClaims:
    def test_live_ones_are_respected(self, store: OutcomeStore) -> None:
        assert claimed(store)
        assert not claimed(store, owner="you")
        assert claimed(store)
        assert store.list()[0].attempts == 2

    def test_those_whose_lease_ran_out_are_anybodys(self, store: OutcomeStore) -> None:
        assert claimed(store, lease=0)
        assert claimed(store, owner="you")
        assert not claimed(store)
        (row,) = store.list()
        assert (row.owner, row.attempts) == ("you", 2)

    def test_finished_ones_are_nobodys(self, store: OutcomeStore) -> None:
        done(store)
        assert not claimed(store)
        assert not claimed(store, owner="you")
        assert store.list()[0].attempts == 1

    def test_who_was_late_still_brings_the_outcome(self, store: OutcomeStore) -> None:
        assert claimed(store, lease=0)
        assert claimed(store, owner="you")
        assert store.finish("a", "me", b"mine", {})
        assert not store.finish("a", "you", b"yours", {})
        assert store.content("a") == b"mine"

    def test_renewing_holds_only_ones_own(self, store: OutcomeStore) -> None:
        assert claimed(store, "mine", lease=0)
        assert claimed(store, "yours", owner="you")
        done(store, "done")
        assert store.renew(["mine", "yours", "done", "none"], "me", LONG) == {"mine"}
        assert not claimed(store, "mine", owner="you")
        assert store.renew(["mine"], "me", 0) == {"mine"}
        assert claimed(store, "mine", owner="you")
        assert store.renew(["mine"], "me", LONG) == set()

    @pytest.mark.parametrize("problem", ["", "out of memory"])
    def test_given_back_they_are_anybodys(self, store: OutcomeStore, problem: str) -> None:
        def give_back(owner: str) -> None:
            store.fail("a", owner, problem) if problem else store.release("a", owner)

        assert claimed(store)
        give_back("you")
        assert not claimed(store, owner="you")
        give_back("me")
        (row,) = store.list()
        assert (row.status, row.owner, row.problem) == ("failed" if problem else "free", None, problem)
        assert claimed(store, owner="you")
        (row,) = store.list()
        assert (row.status, row.problem, row.attempts) == ("running", "", 2)

    def test_giving_back_what_is_done_changes_nothing(self, store: OutcomeStore) -> None:
        done(store)
        store.fail("a", "me", "too late")
        store.release("a", "me")
        assert store.content("a") == b"content"

    def test_time_is_the_databases(self, store: OutcomeStore) -> None:
        ask = "SELECT clock_timestamp()" if "postgresql" in store.url else "SELECT CURRENT_TIMESTAMP"
        with database(store.url).connect() as connection:
            before = connection.scalar(text(ask))
        before = before if isinstance(before, datetime) else datetime.fromisoformat(before).replace(tzinfo=UTC)
        assert claimed(store)
        change(store, "UPDATE outcomes SET until = :until", until=before)
        assert store.list()[0].claimed >= before
        assert claimed(store, owner="you")

    def test_a_clock_that_runs_elsewhere_ends_no_lease(self, store: OutcomeStore, monkeypatch: Any) -> None:
        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime(2100, 1, 1, tzinfo=tz)

        assert claimed(store)
        for module in ("store", "outcomes"):
            monkeypatch.setattr(f"netwright.records.{module}.datetime", Later)
        assert not claimed(store, owner="you")


OWNER = """
import sys, time
from netwright.records.outcomes import OutcomeStore
assert OutcomeStore(sys.argv[1]).claim("a", "killed", recipe={}, seed=0, data="", lease=1000)
print("claimed", flush=True)
time.sleep(1000)
"""


class TestMany:
    def test_four_processes_compute_each_of_25_once(self, url: str, tmp_path: Path) -> None:
        keys, told = [f"key{number}" for number in range(25)], tmp_path / "told"
        reading, writing = os.pipe()

        def work(owner: str) -> None:
            os.close(writing)
            os.read(reading, 1)  # returns for all of them when the parent closes its end
            store = OutcomeStore(url)
            for key in random.Random(owner).sample(keys, len(keys)):
                if claimed(store, key, owner):
                    assert store.finish(key, owner, owner.encode() * 1000, {})
                    with told.open("a") as file:
                        file.write(f"{key}\n")

        children = [forked(partial(work, f"owner{number}")) for number in range(4)]
        os.close(reading)
        os.close(writing)
        assert [exit_code(child) for child in children] == [0] * 4
        assert Counter(told.read_text().split()) == Counter(keys)
        assert OutcomeStore(url).finished(keys) == set(keys)
        assert all(row.attempts == 1 for row in OutcomeStore(url).list(100))

    def test_a_killed_owner_is_followed_when_its_lease_has_run_out(self, store: OutcomeStore) -> None:
        command = (sys.executable, "-c", OWNER, store.url)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "claimed\n"
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not claimed(store)
        assert store.renew(["a"], "killed", lease=0) == {"a"}
        assert claimed(store)
        assert store.finish("a", "me", b"content", {})
        assert store.list()[0].attempts == 2

    def test_threads_share_a_store(self, store: OutcomeStore) -> None:
        won: list[str] = []

        def work(owner: str) -> None:
            for number in random.Random(owner).sample(range(10), 10):
                if claimed(store, f"key{number}", owner):
                    won.append(f"key{number}")
                    store.finish(f"key{number}", owner, b"content", {})

        threads = [threading.Thread(target=work, args=(f"owner{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == sorted(f"key{number}" for number in range(10))

    def test_forks_share_a_store(self, store: OutcomeStore) -> None:
        assert claimed(store, "parent")

        def work(owner: str) -> None:
            assert not claimed(store, "parent", owner)
            won = [key for key in ("a", "b", "c") if claimed(store, key, owner)]
            assert all(store.finish(key, owner, b"content", {}) for key in won)

        children = [forked(partial(work, f"child{number}")) for number in range(3)]
        assert store.finish("parent", "me", b"content", {})
        assert [exit_code(child) for child in children] == [0] * 3
        assert store.finished(["parent", "a", "b", "c"]) == {"parent", "a", "b", "c"}

    def test_a_store_can_be_sent_to_another_process(self, store: OutcomeStore) -> None:
        done(store)
        sent = pickle.loads(pickle.dumps(store))
        assert isinstance(sent, OutcomeStore)
        assert sent.content("a") == b"content"


class TestBesideOptuna:
    @pytest.mark.parametrize("first", ["ours", "theirs"])
    def test_both_work_in_one_database(self, url: str, first: str) -> None:
        optuna = pytest.importorskip("optuna", reason="Optuna is an extra: pip install 'netwright[tune]'")
        ours = OutcomeStore(url) if first == "ours" else None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
        study = optuna.create_study(storage=storage, study_name="lr")
        store = ours or OutcomeStore(url)
        for number in range(2):
            trial = study.ask()
            done(store, f"trial{number}", str(trial.suggest_float("lr", 0, 1)).encode())
            study.tell(trial, float(store.content(f"trial{number}") or b"nan"))
        kept = [OutcomeStore(url).content(trial) for trial in ("trial0", "trial1")]
        assert [str(trial.value).encode() for trial in study.trials] == kept
        assert RunStore(url).list() == []


def test_the_statements_on_the_page_work(store: OutcomeStore) -> None:
    key, runs = "0123456789abcdef0123456789abcdef", RunStore(store.url)
    assert claimed(store, key, recipe={"model": "vgg16"})
    assert store.finish(key, "me", b"content", {"metrics": {"accuracy": 0.5}})
    assert claimed(store, "running")
    assert claimed(store, "failed")
    store.fail("failed", "me", "out of memory")
    fields: dict[str, Any] = {"key": "k", "recipe": {}, "seed": 0, "model": "vgg16", "data": "d"}
    number = runs.add(name="photos", path=Path("runs/photos"), **fields)
    runs.finish(number, status="done", metrics={"test": {"accuracy": {"value": 0.5}}})
    statements = "".join(re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    with database(store.url).begin() as connection:
        done = [connection.execute(text(words)) for words in statements.split(";") if words.strip()]
        rows = [[tuple(row) for row in result] for result in done if result.returns_rows]
    assert [[row[0] for row in found] for found in rows] == [[key], ["running"], ["failed"], ["photos"]]
    assert [str(value) for value in rows[0][0][2:4]] == ["vgg16", "0.5"]
    assert rows[3][0][-1] == 0.5
    assert store.content(key) is None


def test_a_backup_holds_what_the_file_alone_may_lack(sqlite: str, tmp_path: Path) -> None:
    store = OutcomeStore(sqlite)
    with database(sqlite).connect() as held:  # as long as somebody is there, the newest stays in the -wal file
        held.execute(text("SELECT 1 FROM runs"))
        done(store, content=b"only in the log")
        assert b"only in the log" not in (tmp_path / "runs.db").read_bytes()
        with database(sqlite).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"VACUUM INTO '{tmp_path}/backup.db'"))
    assert OutcomeStore(f"sqlite:///{tmp_path}/backup.db").content("a") == b"only in the log"


def test_no_table_is_another_librarys() -> None:
    models = pytest.importorskip("optuna.storages._rdb.models", reason="Optuna is an extra")
    ours = set(Base.metadata.tables) | {"schema_version"}
    assert ours == {"runs", "outcomes", "schema_version"}
    assert not ours & (set(models.BaseModel.metadata.tables) | {"alembic_version"})

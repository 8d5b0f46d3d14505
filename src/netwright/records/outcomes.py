"""What runs of the lab gave, each under its key, and who is computing what is not there yet: nothing runs twice."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import URL, BigInteger, ColumnElement, LargeBinary, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from netwright.core.errors import NetwrightError
from netwright.records.plain import plain
from netwright.records.store import Base, Store

RUNNING, DONE, FAILED, FREE = "running", "done", "failed", "free"
AT_ONCE = 500  # keys in one statement: databases bound how many there may be


class StoredOutcome(Base):
    """One run of the lab: claimed by an owner until a time, then done with its content, failed, or free again."""

    __tablename__ = "outcomes"

    key: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    owner: Mapped[str | None]
    claimed: Mapped[datetime] = mapped_column(index=True)
    until: Mapped[datetime | None]
    attempts: Mapped[int]
    finished: Mapped[datetime | None]
    problem: Mapped[str]
    summary: Mapped[dict[str, Any]]
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class OutcomeStore(Store):
    """Outcomes of the lab's runs, in the run store. Every driver of a lab names itself by an owner that no other has.

    A claim is a lease: its owner renews it while it computes. When the owner no longer does, the lease runs out, and
    anybody may claim the run. Whether it has run out is asked of the database's clock alone.

    Attributes:
        told: hears of damage, of each run once; without it, it is a warning.
    """

    told: Callable[[str], None] | None = None

    def __init__(self, url: str | URL) -> None:
        super().__init__(url)
        self._known_damaged: set[str] = set()

    def finished(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose outcome is here and undamaged."""
        chosen = select(StoredOutcome.key, _intact()).where(StoredOutcome.status == DONE)
        whole: dict[str, bool] = {}
        with self._reading() as session:
            for some in _parts(keys):
                rows = session.execute(chosen.where(StoredOutcome.key.in_(some)))
                whole |= {key: bool(intact) for key, intact in rows}
        self._tell(key for key, intact in whole.items() if not intact)
        return {key for key, intact in whole.items() if intact}

    def content(self, key: str) -> bytes | None:
        """What the run of this key gave; None while there is nothing, or if it is damaged."""
        return self.contents([key]).get(key)

    def contents(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What the runs of these keys gave; those that are not finished, or are damaged, are left out."""
        chosen = select(StoredOutcome.key, StoredOutcome.content, StoredOutcome.digest)
        held: dict[str, bytes] = {}
        damaged: list[str] = []
        for some in _parts(keys):
            with self._reading() as session:
                rows = session.execute(chosen.where(StoredOutcome.status == DONE, StoredOutcome.key.in_(some))).all()
            for key, content, digest in rows:
                if content is not None and sha256(content).digest() == digest:
                    held[key] = bytes(content)
                else:
                    damaged.append(key)
        self._tell(damaged)
        return held

    def claim(
        self, key: str, owner: str, *, recipe: Mapping[str, Any], seed: int, data: str, lease: float = 60.0
    ) -> bool:
        """Ask to compute a run.

        Args:
            key: of the run.
            owner: who asks.
            recipe: every field of the recipe, for whoever looks into the store.
            seed: of the run.
            data: the fingerprint of the data.
            lease: seconds for which it is the owner's, unless renewed.

        Returns:
            Whether it is now the owner's; not if it is finished, or another's whose lease has not run out.
        """
        insert = (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(StoredOutcome)
        with self._writing() as session:
            now = self._now(session)
            kept = {"recipe": plain(recipe), "seed": seed, "data": _text(data), "problem": "", "summary": {}}
            claim = {"status": RUNNING, "owner": owner, "claimed": now, "until": now + timedelta(seconds=lease)}
            gone = {"finished": None, "digest": None, "content": None}
            row = insert.values(key=key, attempts=1, **kept, **claim, **gone)
            taken = row.on_conflict_do_update(
                index_elements=[StoredOutcome.key],
                set_={"attempts": StoredOutcome.attempts + 1, **kept, **claim, **gone},
                where=_open(now, owner),
            ).returning(StoredOutcome.key)
            return session.execute(taken).first() is not None

    def owner(self, key: str) -> str | None:
        """Who computes a run at this moment, or did when last heard of; None where nobody does."""
        chosen = select(StoredOutcome.owner).where(StoredOutcome.key == key, StoredOutcome.status == RUNNING)
        with self._reading() as session:
            return session.scalar(chosen)

    def discard(self, key: str, content: bytes) -> None:
        """Forget what a run gave, since nobody can read it, so that it may be computed again.

        Args:
            key: of the run.
            content: what cannot be read; if there is another by now, that stays.
        """
        read = (StoredOutcome.key == key, StoredOutcome.status == DONE)
        values = {"status": FREE, "owner": None, "finished": None, "content": None, "digest": None, "summary": {}}
        with self._writing() as session:
            same = StoredOutcome.digest == sha256(content).digest()
            session.execute(update(StoredOutcome).where(*read, same).values(values))

    def renew(self, keys: Iterable[str], owner: str, lease: float = 60.0) -> set[str]:
        """Hold claims for `lease` seconds from now; those that are still the owner's come back."""
        held: set[str] = set()
        for some in _parts(keys):
            with self._writing() as session:
                until = self._now(session) + timedelta(seconds=lease)
                renewed = update(StoredOutcome).where(StoredOutcome.key.in_(some), _held(owner)).values(until=until)
                held |= set(session.scalars(renewed.returning(StoredOutcome.key)))
        return held

    def finish(self, key: str, owner: str, content: bytes, summary: Mapping[str, Any]) -> bool:
        """Keep what a run gave. The first outcome stays: one key has one outcome, whoever computes it.

        Args:
            key: of the run.
            owner: who computed it; even if its lease has run out meanwhile.
            content: as `Outcome.to_bytes` gives it.
            summary: what a list shows.

        Returns:
            Whether this content is the one that is kept.

        Raises:
            NetwrightError: nobody claimed this key.
        """
        unfinished = or_(StoredOutcome.status != DONE, ~_intact())
        with self._writing() as session:
            now, digest = self._now(session), sha256(content).digest()
            values = {"status": DONE, "owner": owner, "until": None, "finished": now, "problem": ""}
            values |= {"content": content, "digest": digest, "summary": plain(summary)}
            kept = update(StoredOutcome).where(StoredOutcome.key == key, unfinished).values(values)
            if session.execute(kept.returning(StoredOutcome.key)).first() is not None:
                return True
            if session.scalar(select(StoredOutcome.key).where(StoredOutcome.key == key)) is None:
                raise NetwrightError(f"nobody claimed run {key} in {self}", "claim() it before it is computed")
            return False

    def fail(self, key: str, owner: str, problem: str) -> None:
        """Give a claim back because the run failed; a claim that is no longer the owner's is left alone."""
        self._end(key, owner, FAILED, _text(problem))

    def release(self, key: str, owner: str) -> None:
        """Give a claim back because nobody computes it any more; one that is no longer the owner's is left alone."""
        self._end(key, owner, FREE, "")

    def list(self, limit: int = 20) -> Sequence[StoredOutcome]:
        """What was claimed last, newest first, without contents."""
        newest = select(StoredOutcome).order_by(StoredOutcome.claimed.desc(), StoredOutcome.key).limit(limit)
        with self._reading() as session:
            return session.scalars(newest).all()

    def _end(self, key: str, owner: str, status: str, problem: str) -> None:
        ended = update(StoredOutcome).where(StoredOutcome.key == key, _held(owner))
        with self._writing() as session:
            session.execute(ended.values(status=status, owner=None, until=None, problem=problem))

    def _tell(self, damaged: Iterable[str]) -> None:
        keys = sorted(damaged)
        if self.told is not None:
            keys = sorted(set(keys) - self._known_damaged)
            self._known_damaged.update(keys)
        if keys:
            told = f"{len(keys)} in {self} do not match their SHA-256 and count as not run: {', '.join(keys[:3])}"
            words = f"damaged outcomes: {told}{' …' if keys[3:] else ''}"
            if self.told is not None:
                self.told(words)
            else:
                warnings.warn(words, RuntimeWarning, stacklevel=3)


def _intact() -> ColumnElement[bool]:
    # Where there is no content there is nothing to compare, and SQL would say neither yes nor no.
    return func.coalesce(func.sha256(StoredOutcome.content, type_=LargeBinary) == StoredOutcome.digest, False)


def _held(owner: str) -> ColumnElement[bool]:
    return and_(StoredOutcome.status == RUNNING, StoredOutcome.owner == owner)


def _open(now: datetime, owner: str) -> ColumnElement[bool]:
    """Whether a row may be claimed."""
    return or_(
        StoredOutcome.status.in_([FAILED, FREE]),
        and_(StoredOutcome.status == RUNNING, or_(StoredOutcome.owner == owner, StoredOutcome.until <= now)),
        and_(StoredOutcome.status == DONE, ~_intact()),
    )


def _parts(keys: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(keys))
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))


def _text(given: str) -> str:
    """Text that every database can hold."""
    return given.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")

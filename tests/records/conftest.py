"""Where stores are kept in tests: a new SQLite file, and a new schema on a real PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of an empty schema on the server that NETWRIGHT_POSTGRES names; tests that want it skip without it."""
    server = os.environ.get("NETWRIGHT_POSTGRES")
    if not server:
        pytest.skip("NETWRIGHT_POSTGRES is not set: `python tests/support_postgres.py start FOLDER` prints one")
    engine, schema = create_engine(server, poolclass=NullPool), f"netwright_{token_hex(8)}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind that the store knows."""
    return request.getfixturevalue(request.param)

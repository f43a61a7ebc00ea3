"""URLs with several servers mean the same to libpq, psycopg and SQLAlchemy."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo
from sqlalchemy import make_url

from resources.database import Database
from resources.writer_connections import DatabaseUrlError, normalized, servers, with_options

ACCOUNTS = st.text(alphabet="aZ0 :/@?#%&=+é'", max_size=8)
# SQLAlchemy does not decode the database's name.
NAMES = st.text(alphabet="aZ0_-", max_size=8)
HOSTS = st.sampled_from(["db1.example", "10.0.0.1", "[fd00::1]", "localhost"])
PORTS = st.integers(1, 65535)


def _sqlalchemy(database: Database, driver: str) -> dict[str, object]:
    """What an engine passes to the driver."""
    url = make_url(database.sqlalchemy_url(driver))
    return dict(url.get_dialect()().create_connect_args(url)[1])


@pytest.mark.parametrize("url", ["postgresql://u:p@h:1/db", "postgresql:///db?host=/run/postgres", "postgresql://"])
def test_a_url_with_one_server_stays_as_it_is(url: str) -> None:
    assert normalized(url) == url
    assert normalized(url.replace("postgresql", "postgres", 1)) == url


@given(st.lists(st.tuples(HOSTS, PORTS), min_size=2, max_size=3), ACCOUNTS, ACCOUNTS, NAMES)
def test_several_servers_reach_every_client(
    addresses: list[tuple[str, int]], user: str, password: str, name: str
) -> None:
    parts = {
        "host": ",".join(host.strip("[]") for host, _ in addresses),
        "port": ",".join(str(port) for _, port in addresses),
        **{key: value for key, value in (("user", user), ("dbname", name)) if value},
        **({"password": password} if user and password else {}),
    }
    account = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user and password else ""
    account = account or (f"{quote(user, safe='')}@" if user else "")
    listed = ",".join(f"{host}:{port}" for host, port in addresses)
    database = Database.from_url(f"postgres://{account}{listed}/{quote(name, safe='')}")
    assert servers(database.url) == tuple((host.strip("[]"), str(port)) for host, port in addresses)
    assert parts.items() <= conninfo.conninfo_to_dict(database.url).items()
    for driver in ("psycopg", "psycopg2"):
        assert parts.items() <= _sqlalchemy(database, driver).items()
        assert _sqlalchemy(database, driver)["target_session_attrs"] == "read-write"
    assert normalized(database.url) == database.url


def test_several_sockets_and_one_port_are_several_servers() -> None:
    database = Database.from_url("postgresql://u@/db?host=/a%20b,/c&port=6432&connect_timeout=2")
    assert servers(database.url) == (("/a b", "6432"), ("/c", "6432"))
    passed = _sqlalchemy(database, "psycopg2")
    assert (passed["host"], passed["port"], passed["connect_timeout"]) == ("/a b,/c", "6432,6432", "2")


@pytest.mark.parametrize("wanted", ["any", "standby", "read-only", "prefer-standby"])
def test_a_server_that_refuses_writes_is_no_choice(wanted: str) -> None:
    with pytest.raises(DatabaseUrlError, match=f"must be read-write \\(got '{wanted}'\\)"):
        normalized(f"postgresql://a,b/db?target_session_attrs={wanted}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:hunter2@a,b/db?nonsense=1", "check its host, port and parameters"),
        ("postgresql://u:hunter2@/db?host=a,b,c&port=1,2", "3 hosts and 2 ports"),
        ("postgresql://u:hunter2@/db?hostaddr=10.0.0.1,10.0.0.2", "give them as host"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseUrlError, match=message) as refusal:
        Database.from_url(url)
    assert "hunter2" not in str(refusal.value)


def test_options_are_added_to_those_of_the_url() -> None:
    url = "postgresql://h/db?options=-c%20jit%3Doff&connect_timeout=3"
    parts = conninfo.conninfo_to_dict(with_options(url, "-csearch_path=dagster"))
    assert (parts["options"], parts["connect_timeout"]) == ("-c jit=off -csearch_path=dagster", "3")
    assert (
        _sqlalchemy(Database(with_options(url, "-csearch_path=dagster")), "psycopg2")["options"] == parts["options"]
    )

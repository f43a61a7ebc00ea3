"""Settings: an unknown name or a malformed value refuses to start and is named."""

from pathlib import Path

import pytest

from sisu_pipeline.settings import PROJECT_ROOT, Settings, SettingsError, child_environment, load_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = load_settings({})
    assert (settings.port, settings.admin_port, settings.dbos__appversion) == (3001, 3002, "v1")
    assert (settings.oc_mode, settings.sbx_mode, settings.database_url) == ("replay", "mock", None)


def test_variables_that_are_not_ours_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "LANG": "C", "DBOS__VMID": "x"}) == load_settings({})


@pytest.mark.parametrize(
    "name", ["SISU_PORT", "SBX_MODES", "OC_MODEL", "INTENT_QUEUE_SIZE", "HITL_TIMEOUT", "CHAOS_MONKEY", "DBOS__X"]
)
def test_an_unknown_name_of_ours_refuses_to_start_and_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown settings: {name}"):
        load_settings({name: "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", ""),
        ("ADMIN_PORT", "3002.5"),
        ("OC_MODE", "dream"),
        ("OC_MODE", "Replay"),
        ("SBX_MODE", "production"),
        ("SBX_PROVIDER", "docker"),
        ("SBX_DEFAULT_TIMEOUT_MS", "0"),
        ("SBX_DEFAULT_NET", "maybe"),
        ("SISU_PROFILE", "hot"),
        ("SISU_HOME", ""),
        ("SISU_API_URL", "sisu.example.org"),
        ("DBOS__APPVERSION", ""),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "host=/tmp dbname=x"),
        ("HITL_PLAN_APPROVAL_TIMEOUT_S", "86401"),
        ("INTENT_QUEUE_WORKER_CONCURRENCY", "0"),
        ("INTENT_QUEUE_CONCURRENCY", "-1"),
        ("SBX_QUEUE_RATE_LIMIT_PERIOD_SEC", "nan"),
        ("SBX_QUEUE_RATE_LIMIT_PERIOD_SEC", "inf"),
    ],
)
def test_a_malformed_value_refuses_to_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"malformed settings: {name}: "):
        load_settings({name: value})


def test_every_malformed_value_is_named_at_once_in_a_fixed_order() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({"SBX_MODE": "x", "PORT": "x", "OC_MODE": "x"})
    assert [part.split(":")[0] for part in str(refusal.value).removeprefix("malformed settings: ").split("; ")] == [
        "OC_MODE",
        "PORT",
        "SBX_MODE",
    ]


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h/db", "postgres://u:hunter2@h/db"])
def test_a_secret_is_not_shown(url: str) -> None:
    settings = load_settings({"DATABASE_URL": url, "E2B_API_KEY": "hunter2"})
    assert "hunter2" not in f"{settings!r} {settings}"
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url


def test_a_malformed_secret_is_not_shown_either() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({"DATABASE_URL": "mysql://u:hunter2@h/db"})
    assert "hunter2" not in str(refusal.value)


def test_the_data_folder_is_absolute_and_holds_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"SISU_HOME": "data"})
    assert settings.home == tmp_path / "data"
    assert {settings.workspaces.parent, settings.logs.parent, settings.code_socket.parent} == {settings.home}


def test_each_profile_has_its_dagster_folder() -> None:
    assert load_settings({}).dagster_home == PROJECT_ROOT / "dagster_home"
    assert load_settings({"SISU_PROFILE": "stock"}).dagster_home == PROJECT_ROOT / "dagster_home" / "stock"


def test_links_lead_to_this_machine_unless_a_proxy_has_another_address() -> None:
    local = load_settings({"PORT": "4001", "ADMIN_PORT": "4002"})
    assert (local.api_url, local.dagster_url) == ("http://127.0.0.1:4001", "http://127.0.0.1:4002")
    proxied = load_settings({"SISU_API_URL": "https://sisu.test/", "SISU_DAGSTER_URL": "https://dagster.test/"})
    assert (proxied.api_url, proxied.dagster_url) == ("https://sisu.test", "https://dagster.test")


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).port = 1  # type: ignore[misc]


def test_a_child_gets_this_environment_and_the_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SISU_PROFILE", "stock")
    child = child_environment(PORT="4001")
    assert (child["SISU_PROFILE"], child["PORT"]) == ("stock", "4001")


def test_every_knob_has_a_default_so_nothing_must_be_set() -> None:
    assert all(not field.is_required() for field in Settings.model_fields.values())

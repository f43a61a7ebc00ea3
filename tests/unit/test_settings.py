"""Settings: an unknown name or a malformed value refuses to start and is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.settings import PROJECT_ROOT, Settings, child_environment, load_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = load_settings({})
    assert (settings.port, settings.admin_port, settings.dbos__appversion) == (3001, 3002, "v1")
    assert (settings.oc_mode, settings.sbx_mode, settings.database_url) == ("replay", "mock", None)


def test_variables_that_are_not_ours_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "LANG": "C", "DBOS__VMID": "x"}) == load_settings({})


def test_variables_of_kubernetes_openshift_and_dbos_are_ignored() -> None:
    service = {
        "SISU_SERVICE_HOST": "10.0.0.1",
        "SISU_SERVICE_PORT": "3001",
        "SISU_SERVICE_PORT_HTTP": "3001",
        "SISU_PORT": "tcp://10.0.0.1:3001",
        "SISU_PORT_3001_TCP": "tcp://10.0.0.1:3001",
        "SISU_PORT_3001_TCP_PROTO": "tcp",
        "SISU_PORT_3001_TCP_PORT": "3001",
        "SISU_PORT_3001_TCP_ADDR": "10.0.0.1",
        "SISU_API_PORT": "tcp://10.0.0.2:3001",
        "SISU_API_SERVICE_HOST": "10.0.0.2",
        "OC_EDITOR": "vim",
        "DBOS__CONDUCTOR_KEY": "k",
    }
    assert load_settings(service) == load_settings({})


@pytest.mark.parametrize(
    "name", ["SISU_PORT", "SBX_MODES", "OC_MODELS", "INTENT_QUEUE_SIZE", "HITL_TIMEOUT", "CHAOS_MONKEY", "DBOS__X"]
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
        ("HITL_PLAN_APPROVAL_TIMEOUT_S", "2592001"),
        ("INTENT_QUEUE_WORKER_CONCURRENCY", "0"),
        ("INTENT_QUEUE_CONCURRENCY", "-1"),
        ("SBX_QUEUE_RATE_LIMIT_PERIOD_SEC", "nan"),
        ("SBX_QUEUE_RATE_LIMIT_PERIOD_SEC", "inf"),
    ],
)
def test_a_malformed_value_refuses_to_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must (be|begin with|not be) "):
        load_settings({name: value})


def test_every_malformed_value_is_named_at_once_in_a_fixed_order() -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({"SBX_MODE": "x", "PORT": "x", "OC_MODE": "x"})
    assert str(refusal.value) == (
        "OC_MODE must be one of replay, record, live (got 'x'); "
        "PORT must be an integer between 1 and 65535 (got 'x'); "
        "SBX_MODE must be one of mock, live (got 'x')"
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SISU_RUN_RECYCLE": "0"}, "SISU_RUN_RECYCLE must be an integer of at least 1 (got '0')"),
        ({"SBX_DEFAULT_NET": "maybe"}, "SBX_DEFAULT_NET must be true or false (got 'maybe')"),
        (
            {"E2B_CREATES_PER_SECOND": "0"},
            "E2B_CREATES_PER_SECOND must be a number greater than 0 and at most 1000 (got '0')",
        ),
        (
            {"SISU_API_URL": "sisu.example.org"},
            "SISU_API_URL must be a URL that begins with http:// or https:// (got 'sisu.example.org')",
        ),
        ({"E2B_DEPLOYMENT": ""}, "E2B_DEPLOYMENT must be a text of 1 to 100 characters (got '')"),
        ({"DBOS__APPVERSION": ""}, "DBOS__APPVERSION must be a text that is not empty (got '')"),
        ({"SISU_TOKEN": ""}, "SISU_TOKEN must not be empty; set a value or unset the variable"),
        ({"DATABASE_URL": "mysql://u:hunter2@h/db"}, "DATABASE_URL must begin with postgresql://"),
        (
            {"SISU_ESCALATION_URL": "https://x.test"},
            "SISU_ESCALATION_URL and SISU_ESCALATION_SECRET must be set together",
        ),
        (
            {"SISU_PROFIL": "warm", "SBX_ZZZ": "1"},
            "unknown settings: SBX_ZZZ, SISU_PROFIL (did you mean SISU_PROFILE?). "
            "See `sisu doctor --settings` for the names.",
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_the_message_is_a_sentence_with_the_rule_and_the_value(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(environment)
    assert str(refusal.value) == message


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text()))
def test_no_text_of_the_validator_reaches_operators(environment: dict[str, str]) -> None:
    try:
        load_settings(environment)
    except SettingsError as refusal:
        assert not any(text in str(refusal) for text in ("Input should", "String should", "Value error", "valid "))


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


def test_hard_limits_are_names_of_limits() -> None:
    assert load_settings({"SBX_HARD_LIMITS": "memory,uid"}).hard_limits == {"memory", "uid"}
    assert load_settings({}).hard_limits == frozenset()
    with pytest.raises(
        SettingsError, match=r"SBX_HARD_LIMITS must be names out of cpu, disk.* \(got 'memory,ram'\)"
    ):
        load_settings({"SBX_HARD_LIMITS": "memory,ram"})

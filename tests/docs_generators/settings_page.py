"""`docs/settings.md`, from the fields of `sisu_pipeline.settings.Settings`."""

from collections.abc import Iterable
from typing import Any

from pydantic.fields import FieldInfo

from sisu_pipeline.settings import Settings
from tests.docs_generators.json_schema import default, phrase
from tests.docs_generators.markdown import GeneratedPage, code, table

_INTRODUCTION = """\
# Settings

Every setting is an environment variable. `sisu_pipeline/settings.py` is the only module that reads them. A
process reads them once, when it starts. An unknown name with one of the prefixes `SISU_`, `SBX_`, `OC_`,
`INTENT_QUEUE_`, `HITL_`, `CHAOS_` and `DBOS__`, or a malformed value, stops the process with a message that names
it. Variables by which Kubernetes describes a Service named `sisu`, and those of OpenShift's client and of DBOS's
conductor, are ignored. `sisu doctor --settings` shows those of the running stack. This page is generated from
the code: `python -m tests.docs_generators`.

*Since* is the release that introduced a setting. *Read by* lists the processes that use it: restart them after
a change.

"""

# Section titles, with the beginnings of their settings' names; the first that fits counts.
_SECTIONS = {
    "Planner": ("oc_",),
    "E2B": ("e2b_",),
    "Queues": ("intent_queue_", "sbx_queue_"),
    "Sandboxes": ("sbx_",),
    "Gates and escalation": ("hitl_", "sisu_escalation_", "sisu_notifications"),
    "Sign-in": ("sisu_oidc_", "sisu_identity_", "sisu_name_claim", "sisu_groups_claim", "sisu_group_roles"),
    "Repositories": ("sisu_git_",),
    "Labs and tests": ("chaos_", "sisu_crash_at"),
    "Server, storage and workers": ("",),
}
_ORDER = (
    "Server, storage and workers",
    "Planner",
    "Sandboxes",
    "E2B",
    "Repositories",
    "Gates and escalation",
    "Sign-in",
    "Queues",
    "Labs and tests",
)


def page() -> str:
    """The whole page."""
    by_section: dict[str, list[str]] = {title: [] for title in _ORDER}
    for name in Settings.model_fields:
        by_section[_section(name)].append(name)
    return _INTRODUCTION + "\n".join(f"## {title}\n\n{_table(names)}" for title, names in by_section.items())


def extra(field: FieldInfo) -> dict[str, Any]:
    """What a field declares beside its type: `since` and `read_by`."""
    declared = field.json_schema_extra
    return dict(declared) if isinstance(declared, dict) else {}


def _section(name: str) -> str:
    return next(title for title, starts in _SECTIONS.items() if name.startswith(starts))


def _table(names: Iterable[str]) -> str:
    return table(("name", "meaning", "values", "default", "since", "read by"), map(_row, names))


def _row(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    schema = Settings.model_json_schema()["properties"][name]
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    declared = extra(field)
    return (
        code(name.upper()),
        field.description or "",
        phrase({"anyOf": options}),
        default(schema),
        str(declared.get("since", "")),
        ", ".join(declared.get("read_by", [])),
    )


PAGE = GeneratedPage("settings.md", page)

"""`sisu doctor`: check the stack, show the settings, or explain why a run makes no progress."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, CommandOutput, report_failures
from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, FAILED, Failure
from sisu_pipeline.console.formatting import table

if TYPE_CHECKING:
    from sisu_pipeline.supervisor.stack_health import Health
    from sisu_pipeline.supervisor.stack_settings import ReportedSettings

RunId = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Run id or intent id: explain why this run makes no progress.")
]


def doctor(
    run: RunId = None,
    settings_only: Annotated[
        bool, typer.Option("--settings", help="Print every setting of the running stack and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every part of the stack, or explain one run's state; exit 1 when a check fails."""
    with report_failures(as_json) as out:
        if settings_only:
            _print_settings(out)
        elif run is not None:
            _explain_run(out, run)
        else:
            _check_stack(out)


def _check_stack(out: CommandOutput) -> None:
    from sisu_pipeline.supervisor.stack_health import examine

    found = _reported()
    health = examine(found.settings)
    document = {
        "ok": health.ok,
        **asdict(health),
        "settings": _by_variable(found),
        "settingsOf": found.origin,
        "differences": [asdict(each) for each in found.differences],
    }
    out.print_result(document, lambda: f"{_as_text(health)}\n\n{_origin(found)}")
    if not health.ok:
        raise typer.Exit(FAILED)


def _explain_run(out: CommandOutput, run_reference: str) -> None:
    from sisu_pipeline.domain.errors import NotFound
    from sisu_pipeline.supervisor.run_diagnosis import diagnose, gather
    from sisu_pipeline.supervisor.stack_health import brief_connection

    configuration = _reported().settings
    with brief_connection(configuration) as connection:
        try:
            facts = gather(connection, run_reference, configuration)
        except NotFound as error:
            raise Failure(str(error), "not_found") from None
    diagnosis = diagnose(facts)
    document = {"diagnosis": diagnosis.sentence, "command": diagnosis.command, "facts": asdict(facts)}
    out.print_result(document, lambda: f"{diagnosis.sentence}\nNext: {diagnosis.command}")


def _print_settings(out: CommandOutput) -> None:
    """Print the settings; when the environment is invalid, fail with the names of all settings."""
    from sisu_pipeline.domain.setting_errors import SettingsError
    from sisu_pipeline.settings import load_settings

    try:
        found = _reported()
    except SettingsError as error:
        names = [name.upper() for name in type(load_settings({})).model_fields]
        details = [{"pointer": name, "message": "a setting"} for name in names]
        raise Failure(str(error), "settings", ENVIRONMENT_ERROR, details) from None
    values = _by_variable(found)
    out.print_result(values, lambda: f"{table(values.items())}\n\n{_origin(found)}")


def _reported() -> "ReportedSettings":
    """The settings of the stack that runs on this data folder. Raises SettingsError for those of this shell."""
    from sisu_pipeline.settings import settings
    from sisu_pipeline.supervisor.stack_settings import reported

    return reported(settings())


def _by_variable(found: "ReportedSettings") -> dict[str, Any]:
    """Every setting by its environment variable; secrets are masked."""
    values = found.settings.model_dump(mode="json")
    return {name.upper(): value for name, value in values.items()}


def _origin(found: "ReportedSettings") -> str:
    """Whose settings were reported, and how those of this shell differ."""
    lines = [found.origin]
    if found.differences:
        rows = [("SETTING", "THIS SHELL", "THE STACK")]
        rows += [(each.variable, _shown(each.shell), _shown(each.stack)) for each in found.differences]
        lines += ["this shell has other settings; those of the stack were reported:", table(rows)]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _as_text(health: "Health") -> str:
    versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
    checks = [("ok" if check.ok else "FAIL", check.name, check.detail) for check in health.checks]
    lines = [versions, "", table(checks), ""]
    queues = [("QUEUE", "VERSION", "ENQUEUED", "PENDING", "WORKERS")]
    queues += [(q.queue, q.version, str(q.enqueued), str(q.pending), str(q.workers)) for q in health.queues]
    lines.append(table(queues) if health.queues else "The queues are empty and have no workers.")
    lines += [
        f"STRANDED: {q.enqueued} on {q.queue} need version {q.version}, which has no worker. "
        f"Next: DBOS__APPVERSION={q.version} sisu worker --queue {q.queue}, or sisu version adopt {q.version} NEW"
        for q in health.queues
        if q.is_stranded
    ]
    return "\n".join(lines)

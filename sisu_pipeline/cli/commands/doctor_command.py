"""`sisu doctor`: what is running, with which settings, and why a run is not moving."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, Voice, speaking
from sisu_pipeline.console.exit_codes import CANNOT_WORK, REFUSED, Failure
from sisu_pipeline.console.formatting import table

if TYPE_CHECKING:
    from sisu_pipeline.supervisor.stack_health import Health

RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Why does this run not move?")]


def doctor(
    run: RunId = None,
    settings_only: Annotated[bool, typer.Option("--settings", help="Show every setting and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the stack, or one run of it; exit 1 when something does not work."""
    with speaking(as_json) as voice:
        if settings_only:
            _settings(voice)
        elif run is not None:
            _run(voice, run)
        else:
            _stack(voice)


def _stack(voice: Voice) -> None:
    from sisu_pipeline.settings import settings
    from sisu_pipeline.supervisor.stack_health import examine

    health = examine(settings())
    voice.say({"ok": health.ok, **asdict(health), "settings": _shown()}, lambda: _words(health))
    if not health.ok:
        raise typer.Exit(REFUSED)


def _run(voice: Voice, run_reference: str) -> None:
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.domain.errors import NotFound
    from sisu_pipeline.settings import settings
    from sisu_pipeline.supervisor.run_diagnosis import diagnose, gather

    with locate(settings()).connect() as connection:
        try:
            facts = gather(connection, run_reference)
        except NotFound as error:
            raise Failure(str(error), "not_found") from None
    diagnosis = diagnose(facts)
    document = {"diagnosis": diagnosis.sentence, "command": diagnosis.command, "facts": asdict(facts)}
    voice.say(document, lambda: f"{diagnosis.sentence}\nNext: {diagnosis.command}")


def _settings(voice: Voice) -> None:
    """Shown even when the environment is not usable: that is when its names are wanted."""
    from sisu_pipeline.settings import SettingsError, load_settings

    try:
        shown = _shown()
    except SettingsError as error:
        names = [name.upper() for name in type(load_settings({})).model_fields]
        details = [{"pointer": name, "message": "a setting"} for name in names]
        raise Failure(str(error), "settings", CANNOT_WORK, details) from None
    voice.say(shown, lambda: table(shown.items()))


def _shown() -> dict[str, Any]:
    """Every setting by its environment name; secrets are stars."""
    from sisu_pipeline.settings import settings

    values = settings().model_dump(mode="json")
    return {name.upper(): value for name, value in values.items()}


def _words(health: "Health") -> str:
    versions = ", ".join(f"{name} {version}" for name, version in health.versions.items())
    checks = [("ok" if check.ok else "FAIL", check.name, check.detail) for check in health.checks]
    lines = [versions, "", table(checks), ""]
    queues = [("QUEUE", "VERSION", "ENQUEUED", "PENDING", "WORKERS")]
    queues += [(q.queue, q.version, str(q.enqueued), str(q.pending), str(q.workers)) for q in health.queues]
    lines.append(table(queues) if health.queues else "No work on the queues, no workers.")
    lines += [
        f"STRANDED: {q.enqueued} on {q.queue} wait for version {q.version}, which nobody runs. "
        f"Next: DBOS__APPVERSION={q.version} sisu worker --queue {q.queue}"
        for q in health.queues
        if q.is_stranded
    ]
    return "\n".join(lines)

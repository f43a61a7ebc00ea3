"""`sisu lab`: the seed's soak and chaos labs."""

import typer

from sisu_pipeline.cli.failures import CANNOT_WORK, Failure
from sisu_pipeline.cli.voice import speaking

app = typer.Typer(help="Soak and chaos labs.", no_args_is_help=True)


@app.command("fanout-soak")
def fanout_soak(soak: int = 1) -> None:
    """Fan-out exactly once (seed L08)."""
    _not_built_yet("fanout-soak")


@app.command("intent-chaos")
def intent_chaos(soak: int = 1) -> None:
    """Intents survive crashes (seed L13)."""
    _not_built_yet("intent-chaos")


@app.command("sandbox-soak")
def sandbox_soak(soak: int = 1) -> None:
    """A hundred sandbox tasks and more."""
    _not_built_yet("sandbox-soak")


@app.command("crashdemo")
def crashdemo() -> None:
    """A crash and a resume, to look at."""
    _not_built_yet("crashdemo")


def _not_built_yet(lab: str) -> None:
    with speaking():
        raise Failure(f"lab {lab} is not built yet", "not_built_yet", CANNOT_WORK)

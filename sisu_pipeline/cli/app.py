"""The tree of commands: a new noun is one line here."""

import typer

from sisu_pipeline.cli import (
    bench,
    db,
    demo,
    doctor,
    env,
    gate,
    intent,
    lab,
    oracle,
    run,
    ship,
    start,
    token,
    worker,
)

app = typer.Typer(
    name="sisu",
    help="Durable agent intents: planned, approved by a person, executed exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("start")(start.start)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)
app.add_typer(intent.app, name="intent")
app.add_typer(run.app, name="run")
app.add_typer(gate.app, name="gate")
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")
app.add_typer(lab.app, name="lab")
app.add_typer(bench.app, name="bench")
app.command("ship")(ship.ship)
app.command("oracle")(oracle.oracle)
app.command("doctor")(doctor.doctor)
app.command("env")(env.env)

"""`sisu demo`: the whole system on two intents, with its evidence."""

import typer

from sisu_pipeline.console.command_output import speaking, write


def demo() -> None:
    """Run two intents through a stack of their own (under .sisu/demo) and print the evidence."""
    with speaking():
        from sisu_pipeline.proof.labs.demo import run_demo

        raise typer.Exit(run_demo(write))

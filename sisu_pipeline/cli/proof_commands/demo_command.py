"""`sisu demo`: run three intents through the whole system."""

import typer

from sisu_pipeline.cli.proof_commands.source_checkout import require_source_checkout
from sisu_pipeline.console.command_output import print_line, report_failures


def demo() -> None:
    """Run three intents on a stack of their own, in SISU_HOME/demo, and print the evidence."""
    with report_failures():
        require_source_checkout("demo")
        from sisu_pipeline.proof.labs.demo import run_demo

        raise typer.Exit(run_demo(print_line))

"""The command line interface `sisu`. One module per noun; commands import heavy modules when they run."""


def main() -> None:
    """Entry point of the command `sisu`."""
    from sisu_pipeline.cli.command_tree import app
    from sisu_pipeline.console.command_output import escape_unencodable

    escape_unencodable()
    app()

"""`sisu`: everything a person types. One module per noun; heavy imports wait until a command needs them."""


def main() -> None:
    """The entry point of the command `sisu`."""
    from sisu_pipeline.cli.command_tree import app

    app()

"""The command line interface `sisu`. One module per noun; commands import heavy modules when they run."""

import codecs
import os
import sys


def main() -> None:
    """Entry point of the command `sisu`."""
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii":
        _start_again_in_utf8()
    from sisu_pipeline.cli.command_tree import app
    from sisu_pipeline.console.command_output import escape_unencodable

    escape_unencodable()
    app()


def _start_again_in_utf8() -> None:
    """Replace this process by one that reads and writes names as UTF-8, and so do its children.

    In an ASCII locale with UTF-8 mode off (PYTHONUTF8=0), Python cannot give a path with other characters to the
    libraries of this project.
    """
    from sisu_pipeline.settings import child_environment

    command = [sys.executable, "-m", "sisu_pipeline.cli", *sys.argv[1:]]
    os.execve(sys.executable, command, child_environment(PYTHONUTF8="1"))  # noqa: S606 - no shell is wanted

"""Commands that need the fixtures and tests of a source checkout."""

from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, Failure

_FOLDERS = ("fixtures", "tests")


def require_source_checkout(command: str) -> None:
    """Raise Failure (exit 2) unless the package runs from a source checkout."""
    from sisu_pipeline.settings import PROJECT_ROOT

    if not all((PROJECT_ROOT / folder).is_dir() for folder in _FOLDERS):
        message = (
            f"`sisu {command}` needs a source checkout; {PROJECT_ROOT} is not one. Clone the repository and run "
            "`make install` there"
        )
        raise Failure(message, "no_source_checkout", ENVIRONMENT_ERROR)

"""`sisu env`: the stack's variables, for people who run `dagster` by hand."""

import shlex

from sisu_pipeline.console.command_output import AsJson, speaking


def env(as_json: AsJson = False) -> None:
    """Print the variables that point Dagster's own commands at this stack: eval "$(sisu env)"."""
    with speaking(as_json) as voice:
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_setup import stack_variables

        variables = stack_variables(settings(), locate(settings()))
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        voice.say(variables, lambda: "\n".join(lines))

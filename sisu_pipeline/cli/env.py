"""`sisu env`: the stack's variables, for people who run `dagster` by hand."""

import shlex

from sisu_pipeline.cli.voice import AsJson, speaking


def env(as_json: AsJson = False) -> None:
    """Print the variables that point Dagster's own commands at this stack: eval "$(sisu env)"."""
    with speaking(as_json) as voice:
        from resources.database import locate
        from sisu_pipeline.preparation import stack_variables
        from sisu_pipeline.settings import settings

        variables = stack_variables(settings(), locate(settings()))
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        voice.say(variables, lambda: "\n".join(lines))

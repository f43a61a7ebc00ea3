"""`sisu env`: print the environment that Dagster's own commands need."""

import shlex

from sisu_pipeline.console.command_output import AsJson, report_failures


def env(as_json: AsJson = False) -> None:
    """Print the variables that Dagster's own commands need for this stack: eval "$(sisu env)"."""
    with report_failures(as_json) as out:
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_settings import reported
        from sisu_pipeline.supervisor.stack_setup import stack_variables

        configuration = reported(settings()).settings
        variables = stack_variables(configuration, locate(configuration))
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        out.print_result(variables, lambda: "\n".join(lines))

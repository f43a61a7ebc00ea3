"""`sisu mcp`: serve tools for coding agents on stdin and stdout."""

from sisu_pipeline.console.command_output import Url, report_failures


def mcp(url: Url = None) -> None:
    """Serve the Model Context Protocol on stdin and stdout: tools that submit intents and read runs."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.mcp_server import serve

    with report_failures():
        serve(Api(url))

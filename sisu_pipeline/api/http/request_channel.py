"""The channel that a decision comes through, as the server sees the request."""

from typing import Annotated

from fastapi import Depends, Request

from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.operation import CLI_AGENT


async def channel_of(request: Request) -> Channel:
    """The inbox for a request of a page in a browser, the command line for one of `sisu`, else the API.

    A program can send the headers of either. The channel therefore says how a decision was made, not who made it.
    """
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        return Channel.INBOX
    return Channel.CLI if request.headers.get("user-agent", "").startswith(CLI_AGENT) else Channel.API


ChannelOf = Annotated[Channel, Depends(channel_of)]

"""Python client of the HTTP API; `docs/clients.md` shows its use. It imports nothing else of this project."""

from sisu_pipeline.client.request_failed import RequestFailed as RequestFailed
from sisu_pipeline.client.sisu_client import Client as Client
from sisu_pipeline.client.sisu_client import Download as Download

"""Every response keeps browsers from running, framing or guessing it; the console of `/docs` works nevertheless."""

import base64
import hashlib
import re

import pytest

from sisu_pipeline.api.http.security_headers import DEFAULTS
from tests.integration.api.conftest import Api

PATHS = ["/", "/runs", "/healthz", "/nowhere", "/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/session"]


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_the_headers(api: Api, path: str) -> None:
    answer = api.get(path)
    assert {name.lower() for name in DEFAULTS} <= set(answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_refusals_have_them_too(api: Api) -> None:
    answer = api.client.get("/runs", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert answer.headers["content-security-policy"] == DEFAULTS["Content-Security-Policy"]


def test_the_policy_of_the_docs_admits_the_script_of_the_page_and_no_other(api: Api) -> None:
    answer = api.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]

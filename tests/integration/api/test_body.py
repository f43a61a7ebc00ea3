"""The strict reader of bodies: one meaning, or a refusal with the same words every time."""

import json
from typing import Any

import pytest
from hypothesis import given

from sisu_pipeline.api.http.error_responses import MAX_DETAILS, Refusal
from sisu_pipeline.api.http.request_body import MAX_BYTES, MAX_DEPTH, MalformedJson, parse, parse_json
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER, same_json
from tests import json_values


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "text",
    [
        b" ",
        b"{",
        b'{"a":1,}',
        b"[1,]",
        b"'a'",
        b"{a:1}",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"0x10",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"[NaN]",
        b"True",
        b"nul",
        b'"a\nb"',
        b'"a\tb"',
        b'"\\x41"',
        b'"\\u12"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'"\\u0000"',
        b'{"\\u0000":1}',
        b'["a\\u0000b"]',
        b'"\0"',
        b"1 2",
        b"{}{}",
        b"// x\n{}",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        '"a"'.encode("utf-16"),
        b'{"a":1,"a":1}',
        b'{"x":[{"b":1,"\\u0062":2}]}',
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 100_000,
        b"1e309",
        b"-1e309",
        _nested(MAX_DEPTH + 1),
        _nested(500_000),
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_is_not_strict_json_is_refused_in_few_and_the_same_words(text: bytes) -> None:
    with pytest.raises(MalformedJson) as first:
        parse_json(text)
    with pytest.raises(MalformedJson) as second:
        parse_json(text)
    assert str(first.value) == str(second.value)
    assert len(str(first.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" [ ] \r\n\t", []),
        (b"9007199254740991", MAX_SAFE_INTEGER),
        (b"1.0", 1),
        (b"-0", 0),
        (b"-0.0", 0),
        (b"1e2", 100),
        (b"1e20", 1e20),
        (b"1e-400", 0),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\u0000"', "\\u0000"),
        ('"\u2028"'.encode(), "\u2028"),
    ],
)
def test_strict_json_has_its_one_value(text: bytes, value: Any) -> None:
    parsed = parse_json(text)
    assert (type(parsed), parsed) == (type(value), value)


def test_nesting_is_allowed_up_to_the_limit() -> None:
    parse_json(_nested(MAX_DEPTH))


@given(json_values.values(json_values.text.filter(lambda text: "\0" not in text)))
def test_every_value_without_nul_is_read_as_it_was_written(value: Any) -> None:
    for ascii_only in (True, False):
        assert same_json(parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()), value)


def _problem(raw: bytes) -> str:
    with pytest.raises(Refusal) as refused:
        parse(raw, Intent)
    assert refused.value.status == 400
    return refused.value.problem.model_dump_json(by_alias=True)


def test_malformed_json_is_the_error_invalid_json() -> None:
    assert json.loads(_problem(b"{")) == {
        "error": "invalid json",
        "code": "invalid_json",
        "details": [
            {"pointer": "", "message": "Expecting property name enclosed in double quotes at line 1 column 2"}
        ],
    }


def test_a_pointer_escapes_its_keys() -> None:
    problem = _problem(b'{"goal":"g","inputs":{},"constraints":{},"a/b~c":1}')
    assert json.loads(problem)["details"][0]["pointer"] == "/a~1b~0c"


def test_an_answer_never_echoes_a_large_request() -> None:
    many = {f"{index:04d}{'k' * 1000}": "v" * 1000 for index in range(900)}
    problem = _problem(json.dumps(many).encode())
    assert len(json.loads(problem)["details"]) == MAX_DETAILS
    assert len(problem) < 50_000
    assert len(_problem(b'{"' + b"k" * (MAX_BYTES - 10) + b'":1}')) < 2000

"""Canonical JSON is one text per value, and its hashes are the published ones."""

import json
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sisu_pipeline.domain.canonical import (
    MAX_SAFE_INTEGER,
    CanonicalError,
    canonical_json,
    canonical_pieces,
    load_stored_json,
    same_json,
    sha256_hex,
    sha256_json,
    sha256_pieces,
)
from tests import json_values
from tests.unit.ecmascript import number_text

RFC_8785_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def _double(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


@pytest.mark.parametrize(("bits", "text"), RFC_8785_NUMBERS.items())
def test_numbers_are_written_as_rfc_8785_appendix_b_says(bits: str, text: str) -> None:
    assert canonical_json(_double(bits)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_json_number_is_refused(value: float) -> None:
    with pytest.raises(CanonicalError, match="not a JSON number"):
        canonical_json({"x": [value]})


@pytest.mark.parametrize("value", [MAX_SAFE_INTEGER + 1, -MAX_SAFE_INTEGER - 1, 10**400])
def test_an_integer_that_a_double_cannot_hold_is_refused_not_rounded(value: int) -> None:
    with pytest.raises(CanonicalError, match="no exact JSON form"):
        canonical_json(value)


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), {1, 2}, object(), 1j, {1: "a"}, {None: 1}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(CanonicalError):
        canonical_json([value])


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\udc00b"]])
def test_a_lone_surrogate_is_refused(value: Any) -> None:
    with pytest.raises(CanonicalError, match="lone surrogate"):
        canonical_json(value)


def test_the_sample_of_rfc_8785_section_3_2_2() -> None:
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(sample) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_only_quote_backslash_and_control_characters_are_escaped() -> None:
    assert canonical_json("\b\t\n\f\r\0\x1f\x7f/\u2028é😀") == '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f/\u2028é😀"'


def test_keys_sort_by_code_point_so_astral_keys_come_last() -> None:
    sample = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical_json(dict.fromkeys(sample, 0)))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\ufb33",  # RFC 8785 puts the emoji before this one: its UTF-16 begins with d83d
        "\U0001f600",
    ]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (True, 1, False),
        (None, False, False),
        ("1", 1, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
        ([1, 2], (1, 2), True),
        ({}, [], False),
        ({"a": None}, {}, False),
        ("é", "e\u0301", False),
    ],
)
def test_same_json_is_equality_of_what_json_says(left: Any, right: Any, same: bool) -> None:
    assert same_json(left, right) is same


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        (sha256_hex("none"), "140bedbf9c3f6d56a9846d2ba7088798683f4da0c248231336e6a05679e4fdfe"),
        (sha256_json({"a": 1}), "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        (sha256_hex('{"a":1}'), "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
        (sha256_json(None), "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
        (sha256_json([]), "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"),
        (sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            sha256_json({"approved": True, "approvedBy": "po"}),
            "28d07d6cca5a352fb1fca66a78194d32a23ffa4aa9bd8777a6da50b672f44812",
        ),
        (sha256_json({"choice": "yes"}), "b84d24ba8de9f13caa5ac3863ee331d23754bdf6b3f92a11fb52848bc1449487"),
        (sha256_hex("{}"), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (sha256_hex("OK: pnpm test\n"), "cd543186659d76c783a7bd2564274162939743d0b7e0fc55340162ca8e3194b2"),
    ],
)
def test_the_hashes_of_the_original(digest: str, expected: str) -> None:
    assert digest == expected


def test_text_and_its_utf_8_bytes_have_one_hash() -> None:
    assert sha256_hex("é😀") == sha256_hex("é😀".encode())


@given(json_values.doubles)
@example(2.0**-44)  # powers of two: the interval that reads back is not symmetric
@example(2.0**70)
@example(70368744177664.375)  # of two nearest decimals, the even one
@example(9.5)
@example(1e22)
@example(1e21)
@example(123456789012345680000.0)
@example(2.2250738585072014e-308)
def test_numbers_are_what_ecma_262_defines(value: float) -> None:
    assert canonical_json(value) == number_text(value)


@given(json_values.doubles)
def test_a_number_reads_back_as_itself(value: float) -> None:
    assert float(canonical_json(value)) == value


@given(json_values.values())
def test_canonical_json_of_parsed_canonical_json_is_itself(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(load_stored_json(text)) == text


@given(json_values.values())
def test_canonical_json_says_what_json_says(value: Any) -> None:
    text = canonical_json(value)
    assert same_json(load_stored_json(text), load_stored_json(json.dumps(value)))
    assert load_stored_json(text.encode()) == load_stored_json(text)


@given(json_values.values())
def test_the_pieces_of_a_value_are_its_canonical_json(value: Any) -> None:
    assert "".join(canonical_pieces(value)) == canonical_json(value)
    assert sha256_pieces(canonical_pieces(value)) == sha256_json(value)


@pytest.mark.parametrize("value", [{"a": [float("nan")]}, {"a": {1: 2}}, [object()], {"a": b"1"}])
def test_what_has_no_canonical_json_has_no_pieces(value: Any) -> None:
    with pytest.raises(CanonicalError):
        list(canonical_pieces(value))


@given(json_values.objects(), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], order: Any) -> None:
    keys = list(value)
    order.shuffle(keys)
    assert sha256_json({key: value[key] for key in keys}) == sha256_json(value)


@given(json_values.values(), json_values.values())
def test_two_values_share_a_text_only_when_json_calls_them_equal(left: Any, right: Any) -> None:
    assert same_json(left, right) == (_typed(left) == _typed(right))


def _typed(value: Any) -> Any:
    """The value with `True` and `1` told apart, as JSON does and Python's equality does not."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return value

"""The `Authorization` header: a token of ours, or the credentials of a proxy in front."""

_SCHEME = "bearer "


def bearer_token(header: str | None, *, has_other: bool) -> str | None:
    """The token of an `Authorization` header; None without a header, and "" (an unknown token) for another scheme.

    A browser that a proxy has asked for a password repeats it in this header with every request. Where the request
    also carries a session or the proxy's signed header (`has_other`), another scheme is not meant for this server:
    the header counts as missing, and what the request carries decides.
    """
    if header is None:
        return None
    if header[: len(_SCHEME)].lower() == _SCHEME:
        return header[len(_SCHEME) :].strip()
    return None if has_other else ""

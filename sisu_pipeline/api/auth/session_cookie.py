"""The cookie of a session: no script reads it, no other site's request carries it."""

from fastapi import Response

from sisu_pipeline.store.access import sessions


def set_session(answer: Response, cookie: str, session_id: str, *, secure: bool) -> None:
    """Set the cookie of a new session; under https with a name that only this host can set."""
    name = sessions.secure_name(cookie) if secure else cookie
    answer.set_cookie(name, session_id, max_age=sessions.LIFE_S, httponly=True, samesite="strict", secure=secure)

"""How the laws about pushed branches are broken."""

from tests.integration.oracle.faults.change import fault

_REQUEST = "UPDATE app.push_requests SET {0} WHERE run_id = %({1})s"
_END = "UPDATE app.run_pushes SET {0} WHERE run_id = %(pushed)s"
_CHANGED = _END.format("changes = jsonb_set(changes::jsonb, '{0}', '{1}')::text")

PUSHES = (
    fault(
        "730_succeeded_runs_push_as_approved",
        "a push that is not requested",
        "DELETE FROM app.run_pushes WHERE run_id = %(unpushed)s",
        "DELETE FROM app.push_requests WHERE run_id = %(unpushed)s",
    ),
    fault(
        "730_succeeded_runs_push_as_approved",
        "another remote",
        _REQUEST.format("remote = 'https://example.org/a'", "pushed"),
    ),
    fault(
        "730_succeeded_runs_push_as_approved",
        "a push that no plan names",
        "INSERT INTO app.push_requests (run_id, remote, branch) "
        "VALUES (%(from_commit)s, '/a', 'sisu/' || %(from_commit)s)",
    ),
    fault(
        "732_pushes_end_once",
        "an end that the request does not have",
        _REQUEST.format("finished_at = NULL", "pushed"),
    ),
    fault(
        "732_pushes_end_once",
        "a request that ended without an end",
        "DELETE FROM app.run_pushes WHERE run_id = %(unpushed)s",
    ),
    fault("732_pushes_end_once", "too many attempts", _REQUEST.format("attempts = 14", "unpushed")),
    fault("734_pushed_commit_is_the_approved_change", "another parent", _END.format("parent_id = tree_id")),
    fault(
        "734_pushed_commit_is_the_approved_change",
        "another content",
        _CHANGED.format("{0,new}", '"' + "0" * 40 + '"'),
    ),
    fault("734_pushed_commit_is_the_approved_change", "another path", _CHANGED.format("{0,path}", '"other"')),
    fault("734_pushed_commit_is_the_approved_change", "a change is missing", _END.format("changes = '[]'")),
)

"""Rounds: a person requests changes to a plan, a coding agent plans again, and the gate opens for the new version.

The request records the question, which `queueing/question_queue.py` enqueues. The run stays suspended at its gate:
no segment is executed until a plan is approved or rejected. What settles the question opens the gate again, in the
same transaction: with another version of the plan, or after a failure with the one before.
"""

from dataclasses import dataclass, replace

from resources.database import Connection
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.planner.planner_port import Question
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.agent_plan import plan_schema
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan, PlannerOutput
from sisu_pipeline.domain.approval.eligibility import Standing
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid, PatchOutdated, changes_of
from sisu_pipeline.domain.changes.repository_base import content_of
from sisu_pipeline.domain.changes.workspace_files import PathNotAllowed
from sisu_pipeline.domain.complete_plan import SealedPlan
from sisu_pipeline.domain.errors import CommandTooLong, DecisionConflict
from sisu_pipeline.domain.plan_edit import EditRefused
from sisu_pipeline.domain.plan_edit import check as check_edit
from sisu_pipeline.steps import agent_prompts, compile
from sisu_pipeline.steps.step_result import plan_gate_key
from sisu_pipeline.store import (
    bases,
    change_requests,
    deadlines,
    gates,
    intents,
    interactions,
    plan_questions,
    plans,
    runs,
)
from sisu_pipeline.store.access import people
from sisu_pipeline.store.change_requests import FIRST_ROUND, ChangeRequest, NewRequest, RoundOutcome
from sisu_pipeline.store.interactions import NewInteraction
from sisu_pipeline.store.plan_questions import PlanQuestion, Session
from sisu_pipeline.store.plans import Author
from sisu_pipeline.store.rules import quorum
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, run_base
from sisu_pipeline.workflow.dependencies import Dependencies

AGENT = "sisu:agent"
"""The name under which the versions of agents are recorded."""
REFUSED = "changes_refused"
_BAD_ANSWERS = (
    compile.PlannerAnswerInvalid,
    CommandTooLong,
    ContractInvalid,
    ChangeInvalid,
    PatchOutdated,
    PathNotAllowed,
    EditRefused,
    GitRefused,
    GitUnavailable,
)


@dataclass(frozen=True)
class WantedChanges:
    """A person's request for changes, before it is recorded; `plan_sha256` is of the plan that the person read."""

    run_id: str
    requested_by: str
    comment: str
    plan_sha256: str | None = None
    dedupe_key: str | None = None
    channel: Channel = Channel.API


def request(dependencies: Dependencies, connection: Connection, wanted: WantedChanges) -> ChangeRequest:
    """Record a request for changes and its question. A repetition returns the recorded request.

    Raises NotFound, DecisionConflict (no open gate, a decision, another plan, a round in progress, no round left,
    no agent that could plan), DedupeConflict, or DecisionForbidden.
    """
    run = runs.lock(connection, wanted.run_id)
    earlier = change_requests.of_run(connection, run.id)
    interaction = _interaction(wanted)
    repeated = _repeated(connection, interaction, wanted, earlier)
    if repeated is not None:
        return repeated
    plan_sha256 = _open_plan(connection, run, wanted, earlier)
    person = people.get(connection, wanted.requested_by)
    standing = Standing(person.name, Role.APPROVER in person.roles, person.groups)
    quorum.check_person(connection, run.id, standing, is_approval=False)
    most = change_requests.most(connection, run.id)
    if len(earlier) >= most:
        raise DecisionConflict(
            f"changes to this plan were requested {len(earlier)} times, and its recipe allows {most}: approve, "
            "edit or reject it"
        )
    return _open_round(dependencies, connection, run, wanted, interaction, plan_sha256, FIRST_ROUND + len(earlier))


def ask_again(connection: Connection, run: Run) -> None:
    """Ask the question of a round in progress again, for the attempt of a run that was just retried."""
    if not change_requests.is_planning(connection, run.id):
        return
    number = change_requests.of_run(connection, run.id)[-1].round
    question = plan_questions.of_round(connection, run.id, number)
    assert question is not None, "a round without a question is settled by its request"
    plan_questions.ask(connection, run, question.prompt, question.schema_sha256, number)


def checked(dependencies: Dependencies, run: Run, intent: Intent, session: Session) -> tuple[Session, Plan | None]:
    """The plan of an answered session; without one, the session as the failure that it is then.

    Stores the commit's files at the paths of the plan, which edits start from too.
    """
    if session.structured is None:
        return session, None
    try:
        output = PlannerOutput(prompt="", toolcalls=[], responses=[], diffs=[], structured=session.structured)
        answered = compile.read_plan(intent, output)
        base = run_base.resolve(dependencies, run.id, intent)
        if base is not None:
            files = run_base.files_of_plan(dependencies, run.id, base, answered)
            run_base.check_result(dependencies, base, answered, files)
        with dependencies.database.connect() as connection:
            _sealed(connection, run, answered)
    except _BAD_ANSWERS as failure:
        error = {"code": REFUSED, "message": str(failure)}
        return replace(session, structured=None, changes=None, error=error), None
    return session, answered


def settle(
    dependencies: Dependencies,
    connection: Connection,
    question: PlanQuestion,
    number: int,
    session: Session,
    answered: Plan | None,
    *,
    is_final: bool,
) -> bool:
    """Record try `number` of a round's question; the last one opens the gate again. False when it came too late."""
    run = runs.lock(connection, question.run_id)
    if run.status.is_terminal or question.attempt != run.retry_count + 1:
        return False
    if not plan_questions.store(connection, question, number, session, is_final=is_final, blobs=dependencies.blobs):
        return False
    if answered is not None:
        _add_version(connection, run, answered, question.round)
    if is_final:
        _reopen(connection, run, question.round)
    return True


def recorded_question(content: Intent, prompt: str) -> Question:
    """The question that a recorded answer to a round is found by: about the content of the intent and the round."""
    return Question("plan", f"{compile.plan_prompt(content)}\n\n{prompt}", content)


def _interaction(wanted: WantedChanges) -> NewInteraction:
    payload = {"comment": wanted.comment, "planSha256": wanted.plan_sha256}
    key = plan_gate_key(wanted.run_id)
    return NewInteraction(key, "request-changes", wanted.requested_by, payload, wanted.dedupe_key, wanted.channel)


def _repeated(
    connection: Connection, interaction: NewInteraction, wanted: WantedChanges, earlier: list[ChangeRequest]
) -> ChangeRequest | None:
    """The request that this one repeats: by its key, or the last one if it is equal and did not fail."""
    if wanted.dedupe_key is not None:
        if not interactions.is_repeated(connection, wanted.run_id, interaction):
            return None
        return next((each for each in earlier if each.dedupe_key == interaction.key), None)
    last = earlier[-1] if earlier else None
    if last is None or last.outcome is RoundOutcome.FAILED or last.dedupe_key != _key(interaction, last.round):
        return None
    return last


def _key(interaction: NewInteraction, number: int) -> str:
    """The key of a request without one of its own: the same content may be requested in several rounds."""
    return f"{interaction.key}:{number}"


def _open_plan(connection: Connection, run: Run, wanted: WantedChanges, earlier: list[ChangeRequest]) -> str:
    """The hash of the plan that waits for a decision. Raises DecisionConflict."""
    decided = gates.decision(connection, run.id)
    if decided is None and deadlines.enforce_locked(connection, run, plan_gate_key(run.id)):
        decided = gates.decision(connection, run.id)
    if decided is not None:
        raise DecisionConflict(
            f"plan already {decided.decision} by {decided.decided_by}: the first decision is final"
        )
    if run.status.is_terminal:
        raise DecisionConflict(f"the run is {run.status}: its plan can no longer be changed")
    current = gates.plan_hash(connection, run.id)
    if current is None:
        raise DecisionConflict("the gate is not open yet; wait for the plan before you request changes")
    if earlier and earlier[-1].outcome is RoundOutcome.PLANNING:
        raise DecisionConflict(
            f"{earlier[-1].requested_by} requested changes, and a coding agent is making them: wait for its plan"
        )
    if wanted.plan_sha256 not in (None, current):
        raise DecisionConflict(
            f"the plan has changed: the request names {wanted.plan_sha256}, but {current} waits for approval"
        )
    return current


def _open_round(
    dependencies: Dependencies,
    connection: Connection,
    run: Run,
    wanted: WantedChanges,
    interaction: NewInteraction,
    plan_sha256: str,
    number: int,
) -> ChangeRequest:
    """Record the request with its question, or with its plan where the answer is recorded in a fixture."""
    intent = intents.verified(connection, run.intent_id)
    plan = plans.current(connection, run.id).read()
    changes = changes_of(plan, bases.files(connection, run.id, intent))
    prompt = agent_prompts.revision_prompt(intent, plan, changes, wanted.comment)
    recorded = None if dependencies.asks_agent else _recorded(dependencies, connection, run, intent, prompt)
    kept = interaction if wanted.dedupe_key else replace(interaction, dedupe_key=_key(interaction, number))
    interactions.append(connection, run.id, kept, plan_sha256)
    new = NewRequest(
        run.id,
        number,
        kept.gate_key,
        kept.key,
        plan_sha256,
        wanted.comment,
        wanted.requested_by,
        wanted.channel,
    )
    stored = change_requests.insert(connection, new)
    if recorded is None:
        plan_questions.ask(connection, run, prompt, sha256_json(plan_schema()), number)
        runs.set_next_action(connection, run, ownership.PLAN)
        return stored
    _add_version(connection, run, recorded, number)
    _reopen(connection, run, number)
    return change_requests.of_run(connection, run.id)[-1]


def _recorded(dependencies: Dependencies, connection: Connection, run: Run, intent: Intent, prompt: str) -> Plan:
    """The plan in the recorded answer to a round's prompt. Raises DecisionConflict unless there is a valid one."""
    content = content_of(intent, bases.find(connection, run.id))
    output = dependencies.planner.recorded(recorded_question(content, prompt))
    if output is None:
        raise DecisionConflict(
            "no coding agent can make these changes in OC_MODE=replay: edit the plan instead, or start the "
            "deployment with OC_MODE=live"
        )
    try:
        answered = compile.read_plan(intent, output)
        _sealed(connection, run, answered)
    except _BAD_ANSWERS as failure:
        raise DecisionConflict(f"the recorded plan with these changes cannot be used: {failure}") from None
    return answered


def _add_version(connection: Connection, run: Run, answered: Plan, number: int) -> None:
    before = plans.current(connection, run.id)
    plan, sealed = _sealed(connection, run, answered)
    plans.add(connection, run.id, plan, sealed, before.sha256, Author(AGENT, Channel.ENGINE, number))


def _sealed(connection: Connection, run: Run, answered: Plan) -> tuple[Plan, SealedPlan | None]:
    """The plan of an answer with its hashes. Raises ChangeInvalid, PatchOutdated or EditRefused."""
    before = plans.current(connection, run.id).read()
    plan, sealed = plans.edited(connection, run, answered.model_copy(update={"ask": before.ask}))
    check_edit(before, plan, run.budget)
    return plan, sealed


def _reopen(connection: Connection, run: Run, number: int) -> None:
    """Open the gate again: its deadline counts from now."""
    change_requests.restart_deadline(connection, run.id, number)
    runs.set_next_action(connection, run, ownership.APPROVE_PLAN)

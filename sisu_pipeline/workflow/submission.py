"""Submission of intents and start of their runs.

Both work in the caller's transaction and write nothing when they raise. `submitter` is the owner of the caller's
token; `channel` is how the request came, which is recorded.
"""

import re
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.contracts.gate import (
    Channel,
)
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.changes.declared_setup import setup_of
from sisu_pipeline.domain.changes.input_bounds import check_inputs
from sisu_pipeline.domain.changes.repository_base import check_files, repository_of
from sisu_pipeline.domain.errors import ConstraintInvalid, NotFound
from sisu_pipeline.domain.policy import PolicyVersion, PolicyViolation, Recipe, admit, check_submitter
from sisu_pipeline.steps import approval_terms, gate_terms
from sisu_pipeline.store import intents, runs
from sisu_pipeline.store.access import people
from sisu_pipeline.store.intents import Stored
from sisu_pipeline.store.rules import policies
from sisu_pipeline.store.runs import PinnedPolicy, Run
from sisu_pipeline.workflow.commands import checked_person

_INTENT_ID = re.compile(r"ih_[0-9a-f]{64}")


@dataclass(frozen=True)
class KeptValue:
    """A field of a repeated start request whose value the run does not take: it keeps the first one."""

    field: str
    requested: int | str
    kept: int | str | None


@dataclass(frozen=True)
class Started:
    """A started run; `is_replay` is True when it had been started before, and then `kept` is what differs."""

    run_id: str
    intent_id: str
    is_replay: bool
    kept: tuple[KeptValue, ...] = ()


def submit_intent(
    connection: Connection, intent: Intent, submitter: str | None = None, channel: Channel = Channel.API
) -> Stored:
    """Store an intent. The same content is the same intent, and its first known submitter remains its submitter.

    Raises InputInvalid for inputs that no plan can have, such as an invalid repository, setup, path or test name,
    and ConstraintInvalid when the constraints describe a gate that cannot be opened.
    """
    _check_intent(intent)
    return intents.store(connection, intent, submitter and checked_person(submitter), channel)


def start_run(
    connection: Connection,
    intent_id: str,
    request: RunRequest,
    app_version: str,
    submitter: str | None = None,
    channel: Channel = Channel.API,
) -> Started:
    """Start the run of an intent: check the policy, then the intent, then insert the run, whose row is the outbox.

    The run keeps the newest version of its recipe's policy, as the intent's constraints tighten it. Raises
    PolicyViolation, NotFound, SubmissionForbidden, ConstraintInvalid when a constraint would widen the policy,
    IdentityDrift when the intent already runs under another identity, or StartRefused when its run was canceled.
    """
    run = runs.find(connection, intent_id) if _INTENT_ID.fullmatch(intent_id) else None
    admission = admit(request, _offered(intents.recipes(connection), request, run))
    if not _INTENT_ID.fullmatch(intent_id):
        raise NotFound("intent not found")
    intent = intents.get(connection, intent_id)
    _check_push(admission.recipe, intent)
    _check_network(intent, admission.recipe)
    version = policies.newest(connection, admission.recipe.policy_id).read()
    groups = frozenset() if submitter is None else people.get(connection, submitter).groups
    check_submitter(version, submitter and checked_person(submitter), groups)
    # A repetition keeps what the run was started with, whatever the policy is now.
    policy = _pinned(version, intent) if run is None else None
    started = runs.start(connection, intent_id, admission, app_version, submitter, policy, channel)
    kept = _kept(request, runs.get(connection, intent_id)) if started.is_replay else ()
    return Started(started.id, intent_id, started.is_replay, kept)


def _check_push(recipe: Recipe, intent: Intent) -> None:
    if recipe.push_remote is not None and repository_of(intent) is None:
        raise PolicyViolation(
            f"recipe {recipe.name}@{recipe.version} pushes a branch, and the intent has no repository: name one in "
            "inputs.repo, or choose another recipe"
        )


def _check_network(intent: Intent, recipe: Recipe) -> None:
    setup = setup_of(intent)
    if setup is not None and setup.network and recipe.net is False:
        raise PolicyViolation(
            f"recipe {recipe.name} forbids the network, and inputs.setup requests it: choose another recipe, or "
            "leave network out"
        )


def _kept(request: RunRequest, run: Run) -> tuple[KeptValue, ...]:
    """What a repetition asks for and does not get, of the fields that are no part of the run's identity."""
    fields: tuple[tuple[str, int | str | None, int | str | None], ...] = (
        ("priority", request.priority, run.priority),
        ("timeoutMS", request.timeout_ms, run.timeout_ms),
        ("deduplicationID", request.deduplication_id, run.deduplication_id),
        ("taskKey", request.task_key, run.task_key),
    )
    return tuple(
        KeptValue(name, requested, kept)
        for name, requested, kept in fields
        if requested is not None and requested != kept
    )


def _offered(recipes: list[Recipe], request: RunRequest, run: Run | None) -> list[Recipe]:
    """The recipe versions to choose from: a repetition without a version means the one that the run has."""
    if run is None or request.recipe_version is not None:
        return recipes
    started = next((recipe for recipe in recipes if recipe.id == run.recipe_id), None)
    return [recipe for recipe in recipes if started is None or recipe.name != started.name or recipe == started]


def _pinned(version: PolicyVersion, intent: Intent) -> PinnedPolicy:
    rules = approval_terms.tightened(version.policy.rules, version.name, intent.constraints)
    return PinnedPolicy(version, rules)


def _check_intent(intent: Intent) -> None:
    repository_of(intent)
    check_files(intent)
    setup_of(intent)
    check_inputs(intent)
    approval_terms.check(intent.constraints)
    gate_terms.ttl(intent.constraints)
    gate_terms.on_timeout(intent.constraints)
    question = gate_terms.ask(intent.constraints)
    if question is None:
        return
    try:
        forms.check_form(question.form)
    except forms.FormInvalid as failure:
        raise ConstraintInvalid("/constraints", str(failure)) from None

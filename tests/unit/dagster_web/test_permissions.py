"""The roles that GraphQL operations need are read from the operation, however it is written."""

import pytest
from dagster_graphql.schema import create_schema

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import LAUNCHES, MUTATION_RULES
from sisu_pipeline.dagster_web.permissions import OperationRefused, check_subscription, required_roles

LAUNCH = "mutation L($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename } }"
HARMLESS = {"logTelemetry", "setNuxSeen"}
REFUSED = {"reportRunlessAssetEvents", "reportAssetCheckEvaluations"}


def called(mutation: str) -> str:
    return f"mutation {{ {mutation} }}"


def launching(job: str, key: str = "jobName") -> dict[str, object]:
    return {"p": {"selector": {key: job}}}


@pytest.mark.parametrize(
    ("job", "role"),
    [
        ("submit_intent", Role.SUBMITTER),
        ("approve_plan", Role.APPROVER),
        ("reject_plan", Role.APPROVER),
        ("answer_gate", Role.APPROVER),
        ("intent_workflow", Role.OPERATOR),
    ],
)
@pytest.mark.parametrize("key", ["jobName", "pipelineName"])
def test_a_launch_needs_the_role_of_its_job(job: str, role: Role, key: str) -> None:
    assert required_roles(LAUNCH, None, launching(job, key)) == {role}


def test_a_launch_written_out_in_the_document_needs_the_same_role() -> None:
    query = 'mutation { launchRun(executionParams: {selector: {jobName: "approve_plan"}}) { __typename } }'
    assert required_roles(query, None, None) == {Role.APPROVER}


def test_several_launches_need_every_role() -> None:
    query = (
        "mutation L($list: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $list) { __typename } }"
    )
    jobs = [launching(name)["p"] for name in ("submit_intent", "approve_plan")]
    assert required_roles(query, None, {"list": jobs}) == {Role.SUBMITTER, Role.APPROVER}


@pytest.mark.parametrize(
    "query",
    [
        'mutation A { ...F } fragment F on Mutation { terminateRun(runId: "1") { __typename } }',
        'mutation A { ... on Mutation { deleteRun(runId: "1") { __typename } } }',
        "mutation A { innocent: wipeAssets(assetPartitionRanges: []) { __typename } }",
        "mutation A { ...F } fragment F on Mutation { ...G } fragment G on Mutation { stopSensor { a } }",
        "mutation L($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename } }",
    ],
)
def test_a_change_needs_an_operator_however_it_is_written(query: str) -> None:
    assert required_roles(query, None, {}) == {Role.OPERATOR}


def test_the_named_operation_decides() -> None:
    query = 'query R { version } mutation M { terminateRun(runId: "1") { __typename } }'
    assert required_roles(query, "R", None) == frozenset()
    assert required_roles(query, "M", None) == {Role.OPERATOR}


def test_every_mutation_of_dagster_has_a_rule_and_every_rule_a_mutation() -> None:
    mutations = create_schema().graphql_schema.mutation_type
    assert mutations is not None
    assert set(mutations.fields) == set(MUTATION_RULES) | LAUNCHES


def test_a_mutation_needs_a_role_unless_it_is_harmless_or_refused_to_everybody() -> None:
    open_to_all = {name for name in set(MUTATION_RULES) - REFUSED if not required_roles(called(name), None, None)}
    assert open_to_all == HARMLESS


@pytest.mark.parametrize("name", [*sorted(REFUSED), "aMutationOfALaterRelease", "launchrun"])
def test_events_of_the_lineage_and_mutations_without_a_rule_are_refused_to_everybody(name: str) -> None:
    with pytest.raises(OperationRefused, match="not permitted"):
        required_roles(called(name), None, None)


@pytest.mark.parametrize("query", ["mutation { terminateRun }", "query { version }", "{ version }", "{"])
def test_the_websocket_carries_subscriptions_only(query: str) -> None:
    with pytest.raises(OperationRefused):
        check_subscription(query, None)
    check_subscription("subscription { locationStateChangeEvents { __typename } }", None)

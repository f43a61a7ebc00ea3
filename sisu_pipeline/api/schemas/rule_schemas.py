"""Response models of recipes and approval policies."""

from pydantic import Field

from sisu_pipeline.api.schemas.run_schemas import Count, Time
from sisu_pipeline.contracts.approval_policy import ApprovalPolicy
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.recipe import PushTarget


class PolicyView(Contract):
    """A version of an approval policy, and who applied it: a token's owner, or null while no token is required."""

    id: str
    """Id of the policy."""
    version: Count
    """Version of the policy."""
    sha256: str = Field(alias="sha256")
    """Hash of the content; versions with the same content have the same hash."""
    policy: ApprovalPolicy
    """Content of the version."""
    applied_by: str | None
    """Owner of the token that applied it; null if no token was required, or if a migration applied it."""
    channel: str
    """How it was applied: `api` or `migration`."""
    applied_at: Time
    """Time at which it was applied."""


class AppliedPolicy(PolicyView):
    """The newest version of a policy."""

    is_replay: bool
    """True if that version had this content already: nothing was written."""


class Policies(Contract):
    """Versions of approval policies, the newest first."""

    policies: list[PolicyView]
    """The versions."""


class RecipeView(Contract):
    """A version of a recipe, and who applied it: a token's owner, or null while no token is required."""

    id: str
    """Id of the version."""
    name: str
    """Name of the recipe."""
    version: Count
    """Version of the recipe."""
    hash: str
    """Hash of the content and the version."""
    max_concurrency: Count
    """Most concurrency that a run request may announce."""
    max_steps: Count
    """Most steps that a run request may announce."""
    max_sandbox_minutes: Count
    """Most sandbox minutes that a run request may announce."""
    net: bool | None
    """Whether tasks may use the network; null leaves it to the deployment."""
    max_change_requests: Count
    """How often people may request changes to the plan of a run."""
    policy: str
    """Id of the policy whose newest version a run starts with."""
    push: PushTarget | None
    """Where the branches of succeeded runs are pushed; null: nowhere."""
    applied_by: str | None
    """Owner of the token that applied it; null if no token was required, or if a migration applied it."""
    channel: str
    """How it was applied: `api` or `migration`."""
    applied_at: Time
    """Time at which it was applied."""


class AppliedRecipe(RecipeView):
    """The newest version of a recipe."""

    is_replay: bool
    """True if that version had this content already: nothing was written."""


class Recipes(Contract):
    """Versions of recipes, the newest first."""

    recipes: list[RecipeView]
    """The versions."""

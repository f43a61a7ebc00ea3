"""Path parameters and their descriptions."""

from typing import Annotated

from fastapi import Path

RunReference = Annotated[str, Path(description="Id of a run, or of its intent.")]
IntentId = Annotated[str, Path(description="Id of an intent.")]
GateKey = Annotated[str, Path(description="Key of a gate, as `gateKey` in the responses.")]
ArtifactAddress = Annotated[
    str, Path(description="Address of an artifact: `run/…`, or `artifact://run/…` percent-encoded.")
]
PolicyReference = Annotated[str, Path(description="Id of an approval policy.")]
RecipeReference = Annotated[str, Path(description="Name of a recipe.")]

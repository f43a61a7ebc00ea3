"""What chaos asks of the system: a stream of intents of every kind, drawn from one seed. Pure.

A story is an intent, what people do to it and when, and the end that this demands. The same seed and length is
the same stream, to the byte.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

INTENTS_PER_MINUTE = 58
PARTITIONS = 6
_DECISION_WITHIN_S = 12.0
_SOON_S = 3.0


class Plot(StrEnum):
    """How an intent's life goes."""

    APPROVED = "approved"
    PARKED = "left waiting, approved last"
    FLAKY = "approved, the infrastructure fails twice"
    FAILS = "approved, the command fails"
    GIVES_UP = "approved, the infrastructure always fails"
    REJECTED = "rejected"
    CANCELED = "canceled before a decision"
    CANCELED_LATE = "approved, then canceled"


class Verb(StrEnum):
    """What a person does."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"


# Of a hundred intents.
_PLOTS = {
    Plot.APPROVED: 46,
    Plot.PARKED: 8,
    Plot.FLAKY: 8,
    Plot.FAILS: 8,
    Plot.GIVES_UP: 4,
    Plot.REJECTED: 10,
    Plot.CANCELED: 8,
    Plot.CANCELED_LATE: 8,
}
_COMMANDS = {Plot.FLAKY: "FLAKY_INFRA_FAIL", Plot.FAILS: "FAIL_ME", Plot.GIVES_UP: "INFRA_FAIL"}
_DECISIONS = {Plot.REJECTED: Verb.REJECT, Plot.CANCELED: Verb.CANCEL}
# Fewest tasks, most, and how often of a hundred.
_SIZES = ((0, 5, 60), (6, 12, 30), (13, 30, 10))


@dataclass(frozen=True)
class Act:
    """Something a person does, seconds after the stream began."""

    at_s: float
    verb: Verb


@dataclass(frozen=True)
class Story:
    """One intent and what becomes of it; `acts` are done in this order, one after another."""

    number: int
    plot: Plot
    goal: str
    inputs: dict[str, Any]
    partition: str
    acts: tuple[Act, ...]

    @property
    def tasks(self) -> int:
        """How many sandbox tasks its fan-out has."""
        return max(1, len(self.inputs["tests"]))

    @property
    def patches(self) -> list[dict[str, str]]:
        """What its plan changes in the workspace."""
        found: list[dict[str, str]] = self.inputs.get("patches", [])
        return found

    @property
    def files(self) -> dict[str, str]:
        """What its workspace holds before the plan is applied."""
        found: dict[str, str] = self.inputs.get("files", {})
        return found


def draw(seed: int, seconds: float) -> list[Story]:
    """The stream of a seed: INTENTS_PER_MINUTE for `seconds`, in the order they are submitted."""
    dice = random.Random(f"chaos/{seed}/stories")  # noqa: S311 - a schedule is no secret
    count = max(1, round(seconds / 60 * INTENTS_PER_MINUTE))
    starts = sorted(dice.uniform(0, seconds) for _ in range(count))
    return [_story(dice, seed, number, start, seconds) for number, start in enumerate(starts)]


def _story(dice: random.Random, seed: int, number: int, start: float, end: float) -> Story:
    plot = dice.choices(list(_PLOTS), list(_PLOTS.values()))[0]
    return Story(
        number=number,
        plot=plot,
        goal=f"chaos {seed}: intent {number}",
        inputs=_inputs(dice, plot, number),
        partition=f"tenant-{dice.randrange(PARTITIONS)}",
        acts=tuple(sorted(_acts(dice, plot, start, end), key=lambda act: act.at_s)),
    )


def _inputs(dice: random.Random, plot: Plot, number: int) -> dict[str, Any]:
    fewest, most, _ = dice.choices(_SIZES, [often for _, _, often in _SIZES])[0]
    sizes = dice.randint(fewest, most)
    sleeps = plot not in _COMMANDS and dice.random() < 0.4
    inputs: dict[str, Any] = {
        "testCommand": _COMMANDS.get(plot, "sleep" if sleeps else "pnpm test"),
        "tests": [f"{round(dice.uniform(0.1, 2.0), 2)} t{n}" if sleeps else f"t{n}" for n in range(sizes)],
    }
    if dice.random() < 0.4:
        inputs["files"] = {"notes.txt": f"intent {number}\n", "kept.txt": "kept\n"}
        inputs["patches"] = [
            _patch("notes.txt", f"intent {number}, patched\n"),
            *([_patch("src/new.py", f"number = {number}\n")] if dice.random() < 0.5 else []),
        ]
    return inputs


def _patch(path: str, text: str) -> dict[str, str]:
    return {"targetPath": path, "postimageContent": text, "diffText": f"+{text}"}


def _acts(dice: random.Random, plot: Plot, start: float, end: float) -> Iterator[Act]:
    yield Act(start, Verb.SUBMIT)
    if dice.random() < 0.2:
        yield Act(start + dice.uniform(0, _SOON_S), Verb.SUBMIT)
    # Some decide before the gate opens; the parked ones' people come back when all is over.
    is_early = dice.random() < 0.25
    decided = start + dice.uniform(0, 0.3 if is_early else _DECISION_WITHIN_S)
    if plot is Plot.PARKED:
        decided = end
    verb = _DECISIONS.get(plot, Verb.APPROVE)
    yield Act(decided, verb)
    if dice.random() < 0.2:
        yield Act(decided + dice.uniform(0, _SOON_S), verb)
    if plot is Plot.CANCELED_LATE:
        yield Act(decided + dice.uniform(0, _SOON_S), Verb.CANCEL)
    elif dice.random() < 0.15:
        # Somebody wants it otherwise, too late: refused.
        yield Act(decided + dice.uniform(0.1, _SOON_S), Verb.APPROVE if verb is Verb.REJECT else Verb.REJECT)

"""People at work: every act of every story at its time, over HTTP, until somebody answers (`chaos_stories`)."""

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sisu_pipeline.proof.chaos.scenarios import Story, Verb
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.running_stack import Json

_PEOPLE = 16
_ACCEPTED = 300
_REFUSED = 409

Post = Callable[[str, Json], tuple[int, Json]]


@dataclass
class Told:
    """A story as far as it has been told: the API's answers, and what they should not have been."""

    story: Story
    workflow_id: str = ""
    done: list[tuple[Verb, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def was_accepted(self, *verbs: Verb) -> bool:
        """Whether the system took one of these from somebody."""
        return any(verb in verbs and status < _ACCEPTED for verb, status in self.done)


class Stream:
    """Plays stories with a few people, each of whom does one thing at a time."""

    def __init__(self, post: Post, stories: Sequence[Story]) -> None:
        self.told = [Told(story) for story in stories]
        self._post = post
        self._due = [(story.acts[0].at_s, story.number, 0) for story in stories]
        heapq.heapify(self._due)
        self._began = time.monotonic()
        self._left = len(stories)
        self._hurry = False
        self._stop = False
        self._turn = threading.Condition()

    @contextmanager
    def playing(self) -> Iterator["Stream"]:
        """From now on acts happen at their time; leaving stops them, done or not."""
        self._began = time.monotonic()
        with ThreadPoolExecutor(_PEOPLE, thread_name_prefix="person") as pool:
            people = [pool.submit(self._work) for _ in range(_PEOPLE)]
            try:
                yield self
            finally:
                with self._turn:
                    self._stop = True
                    self._turn.notify_all()
        _raise_first(people)

    @property
    def completed(self) -> int:
        """How many stories have been told to their end."""
        return len(self.told) - self._left

    def finish(self, seconds: float, tick: Callable[[int], None]) -> None:
        """Do at once what is left; `tick` gets how many stories are told. Raises LabFailed after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._turn:
            self._hurry = True
            self._turn.notify_all()
            while self._left:
                if time.monotonic() > deadline:
                    raise LabFailed(f"{self._left} of {len(self.told)} stories could not be told to their end")
                self._turn.wait(0.2)
                tick(self.completed)

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            number, place = turn
            one = self.told[number]
            try:
                perform(self._post, one, one.story.acts[place].verb)
            except LabFailed as failure:
                one.wrong.append(str(failure))
            self._give_back(number, place + 1)

    def _next(self) -> tuple[int, int] | None:
        """The next act that is due, as (story, its place); None at the end."""
        with self._turn:
            while not self._stop:
                wait = self._due[0][0] - (time.monotonic() - self._began) if self._due else 1.0
                if self._due and (wait <= 0 or self._hurry):
                    _, number, place = heapq.heappop(self._due)
                    return number, place
                self._turn.wait(wait)
        return None

    def _give_back(self, number: int, place: int) -> None:
        acts = self.told[number].story.acts
        with self._turn:
            if place < len(acts):
                heapq.heappush(self._due, (acts[place].at_s, number, place))
            else:
                self._left -= 1
            self._turn.notify()


def perform(post: Post, one: Told, verb: Verb) -> None:
    """Do it, and note what the API answered. Raises what `post` raises."""
    if verb is Verb.SUBMIT:
        _submit(post, one)
        return
    path, body = _REQUESTS[verb]
    status, answer = post(f"/runs/{one.workflow_id}/{path}", body)
    one.done.append((verb, status))
    if status not in (202, _REFUSED):
        one.wrong.append(f"{verb}: {status} {answer}")


def _submit(post: Post, one: Told) -> None:
    story = one.story
    status, kept = post("/intents", {"goal": story.goal, "inputs": story.inputs, "constraints": {}})
    if status >= _ACCEPTED:
        one.wrong.append(f"submit: {status} {kept}")
        return
    workflow_id = str(kept["intentId"])
    body = {"recipeName": "sandbox-default", "queuePartitionKey": story.partition}
    status, started = post(f"/intents/{workflow_id}/run", body)
    one.done.append((Verb.SUBMIT, status))
    if status != 202 or one.workflow_id not in ("", workflow_id):
        one.wrong.append(f"submit: {status} {started}; first it was {one.workflow_id}")
    one.workflow_id = workflow_id


_REQUESTS: dict[Verb, tuple[str, Json]] = {
    Verb.APPROVE: ("approve-plan", {"approvedBy": "chaos"}),
    Verb.REJECT: ("reject-plan", {"rejectedBy": "chaos", "reason": "not this one"}),
    Verb.CANCEL: ("cancel", {"actor": "chaos", "reason": "no longer wanted"}),
}


def _raise_first(people: Sequence["Future[Any]"]) -> None:
    for person in people:
        person.result()

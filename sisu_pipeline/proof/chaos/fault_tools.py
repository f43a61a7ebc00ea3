"""What some faults need of the machine: a file system that can be filled, and clocks that can be wrong."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sisu_pipeline.proof.chaos.fault_schedule import CLOCK_STEPS, FaultKind, PlannedFault
from sisu_pipeline.proof.harness.limited_disk import LimitedDisk, NoLimitedDisk, limited_disk
from sisu_pipeline.proof.harness.stepped_clocks import SteppedClocks, stepped_clocks


@dataclass(frozen=True)
class FaultTools:
    """The tools that a schedule needs and the machine has; faults without their tool are left out."""

    disk: LimitedDisk | None = None
    clocks: SteppedClocks | None = None
    left_out: Mapping[FaultKind, str] = field(default_factory=dict)
    """The kinds of faults that are not injected, and why."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment that the stack needs."""
        return self.clocks.variables if self.clocks else {}


@contextmanager
def fault_tools(home: Path, schedule: Sequence[PlannedFault]) -> Iterator[FaultTools]:
    """Provide the tools that a schedule needs, for a stack with the data folder `home`."""
    kinds = {planned.kind for planned in schedule}
    left_out: dict[FaultKind, str] = {}
    disk = clocks = None
    with ExitStack() as held:
        if FaultKind.FILL_DISK in kinds:
            try:
                disk = held.enter_context(limited_disk(home))
            except NoLimitedDisk as refusal:
                left_out[FaultKind.FILL_DISK] = str(refusal)
        if steps := kinds & CLOCK_STEPS:
            clocks = held.enter_context(stepped_clocks())
            if clocks is None:
                left_out |= dict.fromkeys(sorted(steps), "libfaketime is not installed")
        yield FaultTools(disk, clocks, left_out)

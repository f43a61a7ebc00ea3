"""How each law can be broken, by one table: FAULTS. And what must not be reported: LEGAL."""

from tests.integration.oracle.faults.change import Change, Fault
from tests.integration.oracle.faults.gates import GATE
from tests.integration.oracle.faults.plans import PLANS
from tests.integration.oracle.faults.pushes import PUSHES
from tests.integration.oracle.faults.queues import LEGAL, QUEUES
from tests.integration.oracle.faults.runs import IDENTITY, PATCHES, RUNS, STEPS
from tests.integration.oracle.faults.tasks import ARTIFACTS, RECEIPTS, TASKS

FAULTS = (*IDENTITY, *STEPS, *GATE, *TASKS, *ARTIFACTS, *RECEIPTS, *RUNS, *PATCHES, *PLANS, *PUSHES, *QUEUES)

__all__ = ["FAULTS", "LEGAL", "Change", "Fault"]

"""The cost of a slot, taken and given back, while nobody waits and while somebody does.

python -m tests.bench.slot_cost
"""

from __future__ import annotations

import asyncio
import statistics
import timeit
from collections.abc import Iterator

import msgspec

from nexus_proxy.admission.queue import Admission, options
from nexus_proxy.config.model import QueueConfig, RoutingConfig
from nexus_proxy.events import Bus
from nexus_proxy.registry import Registry
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import Candidate, RequestFacts
from nexus_proxy.state import Traits
from nexus_proxy.tasks import spawn
from tests.bench.routing_cost import fleet

LOOPS = 20_000
WAITERS = 100
SLOTS = 4


def _decide(registry: Registry) -> Iterator[tuple[Decision, Candidate]]:
    return options(plan(RequestFacts(model_asked="m7"), registry, Rules(RoutingConfig())))


def free_slot_microseconds(*, swaps: bool, running: int = 0) -> float:
    """Median microseconds of `take` and its release with nobody in the queue, while `running`
    others hold slots; `swaps`: on a backend that changes models."""
    registry = fleet(backends=1, models=50)
    admission = Admission(Bus(), get_config=QueueConfig)
    (backend,) = registry
    backend.traits = msgspec.structs.replace(Traits(), swaps=swaps)
    backend.learnt_slots = running + 1
    (_, candidate), *_ = _decide(registry)
    kept = [admission.take(candidate) for _ in range(running)]

    def once() -> None:
        hold = admission.take(candidate)
        assert hold is not None
        with hold:
            pass

    runs = timeit.repeat(once, number=LOOPS, repeat=7)
    assert len(kept) == running
    return statistics.median(runs) / LOOPS * 1e6


async def handed_over_microseconds() -> float:
    """Mean microseconds from the release of a slot to the next release, each given to one of
    `WAITERS` that wait: routing it anew included."""
    registry = fleet(backends=1, models=50)
    admission = Admission(Bus(), get_config=lambda: QueueConfig(max_size=WAITERS))
    (backend,) = registry
    backend.learnt_slots = SLOTS
    holds = [admission.slots.hold(backend, "m7") for _ in range(SLOTS)]

    async def one(number: int) -> None:
        seat = await admission.wait(lambda: _decide(registry), id=f"r{number}", model="m7")
        with seat.hold:
            pass

    tasks = [spawn(one(number), name=f"r{number}") for number in range(WAITERS)]
    await asyncio.sleep(0)  # each task has begun to wait
    assert len(admission.waiting()) == WAITERS
    clock = asyncio.get_running_loop().time
    began = clock()
    for hold in holds:
        hold.release()
    await asyncio.gather(*tasks)
    return (clock() - began) / WAITERS * 1e6


def main() -> None:
    """Print the figures."""
    free = free_slot_microseconds(swaps=False)
    crowded = free_slot_microseconds(swaps=False, running=100)
    swapping = free_slot_microseconds(swaps=True)
    handed = statistics.median(asyncio.run(handed_over_microseconds()) for _ in range(7))
    print(f"slot, nobody waits                  {free:.2f} µs")  # noqa: T201 the point of this
    print(f"the same, 100 others running        {crowded:.2f} µs")  # noqa: T201 the point of this
    print(f"the same, backend changes models    {swapping:.2f} µs")  # noqa: T201 the point of this
    print(f"handed over, {WAITERS} wait              {handed:.1f} µs")  # noqa: T201 the point of this


if __name__ == "__main__":
    main()

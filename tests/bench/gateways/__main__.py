"""Measures Nexus beside other gateways.

    python -m tests.bench.gateways [--quick] [--with-ui] [--with-workers] [--rounds N]
                                   [--json FILE] [--tools FOLDER] … [--only NAME] …

Every gateway that is installed runs before one mock upstream, and all of them are measured in
turns, in random order. With two cores or more, the gateways have the last one, and the mock and
the load the first: what they cost each other does not depend on who moved where. "direct" is no
gateway; its CPU is the mock's own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench.gateways import measures, processes, report
from tests.bench.gateways.figures import Taken
from tests.bench.gateways.lineup import DIRECT, Gateway, Kind, Missing, lineup, started
from tests.bench.gateways.measures import Bench, Plan
from tests.bench.routing_cost import decision_microseconds

BACKENDS = (1, 20, 200)
MODELS = 50


def main() -> None:
    """Run it and print the table."""
    options = _parser().parse_args()
    plan = measures.QUICK if options.quick else measures.FULL
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    machine = report.Machine()
    if machine.loaded:
        _say(
            f"WARNING: the load average is {machine.load_average[0]:.2f}: others are at work on "
            "this machine.\nWARNING: times will be wrong; CPU per request is less so. Repeat this "
            "when it is quiet."
        )
    listed = lineup(options.tools, ui=options.with_ui, workers=options.with_workers)
    wanted = [one for one in listed if not options.only or one.name in options.only]
    kinds = [one for one in wanted if isinstance(one, Kind)]
    processes.allow_many_connections()
    taken = _measure(kinds, plan)
    data = report.as_data(
        machine.facts(),
        {kind.name: kind.version for kind in kinds},
        [one for one in wanted if isinstance(one, Missing)],
        {n: round(decision_microseconds(backends=n, models=MODELS), 1) for n in BACKENDS},
        taken,
    )
    print(report.as_text(data))  # noqa: T201 the point of this program
    if options.json:
        options.json.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateways")
    parser.add_argument("--quick", action="store_true", help="one round, in about a minute")
    parser.add_argument("--with-ui", action="store_true", help="Nexus with its screen as well")
    parser.add_argument(
        "--with-workers", action="store_true", help="Nexus with two workers, on all cores, as well"
    )
    parser.add_argument("--rounds", type=int, help="rounds of every measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="where vllm-router and others are looked for, before PATH",
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="just this gateway")
    return parser


def _measure(kinds: Sequence[Kind], plan: Plan) -> Taken:
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    taken = Taken([DIRECT, *(kind.name for kind in kinds)])
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-bench-")))
        port, pid = stack.enter_context(processes.mock(ours, root / "mock"))
        bench = Bench(stack.enter_context(processes.load(ours, root / "load")), plan, taken)
        for taken.round in range(plan.starts):
            _say(f"start {taken.round + 1} of {plan.starts}, each gateway alone")
            for kind in random.sample(kinds, len(kinds)):
                with _tried(kind, taken), started(kind, port, theirs, root / kind.name) as gateway:
                    bench.life(gateway, long=taken.round == 0)
        gateways = [Gateway(DIRECT, port, pid)]
        for kind in kinds:
            with _tried(kind, taken):
                gateways.append(stack.enter_context(started(kind, port, theirs, root / kind.name)))
        for taken.round in range(plan.rounds):
            _say(f"round {taken.round + 1} of {plan.rounds}")
            bench.round(gateways)
    return taken


@contextmanager
def _tried(kind: Kind, taken: Taken) -> Iterator[None]:
    """A gateway that breaks off is noted, and the others go on."""
    try:
        yield
    except RuntimeError as error:
        taken.note(f"{kind.name}: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 the progress of a long run


if __name__ == "__main__":
    main()

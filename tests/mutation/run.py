"""`python -m tests.mutation.run`: is every change of the decision table noticed by some world?

Prints figures by group and every survivor; exit 1 if there is one that is not known to change
nothing.
"""

import json
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from streams.plans import Plan
from streams.rights import RightsSnapshot
from tests.mutation.mutants import Mutant, mutants
from tests.unit.streams.worlds import World, WorldEvent, load, outcome, paths, planned

# What changes nothing that can be seen, and why.
SAME: dict[str, str] = {
    "part 1 left out: label is not None": "without a label the reason is merchant_token_missing",
    "part 1 left out: (Reason.TENANT_CLOSED,": "the acceptance rule sees to it that it is known",
    "part 1 left out: lambda c: c.row is not None and not": "then it is basis_not_for_party",
    "part 1 left out: lambda c: _by_agreement(c) and (c.agreement is None": "it is known, too",
}


def catching(mutant: Mutant, worlds: dict[str, World]) -> str:
    """The first world in which the mutant decides otherwise, or fails; empty if none."""
    for name, world in worlds.items():
        try:
            if outcome(world, mutant.decide) != world.expected:
                return name
            plans = planned(world, lambda rights, event: _plan(mutant, rights, event))
            if plans != replace(world.expected, denied=frozenset()):
                return name
        except Exception as error:
            return f"{name} ({type(error).__name__})"
    return ""


def _plan(mutant: Mutant, rights: RightsSnapshot, event: WorldEvent) -> Plan:
    channel = event.facts().channel
    candidates = rights.candidates(event.mid)
    plan: Plan = mutant.make_plan(event.mid, channel, event.at_ms, candidates, rights)
    return plan


def run() -> dict[str, Any]:
    """Figures by group, and the survivors."""
    worlds = {path.stem: load(path) for path in paths()}
    for name, world in worlds.items():
        assert outcome(world) == world.expected, f"{name} does not hold as it is"
    made: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    survivors: list[str] = []
    same = 0
    for mutant in mutants():
        made[mutant.group] += 1
        if catching(mutant, worlds):
            caught[mutant.group] += 1
        elif any(known in mutant.change for known in SAME):
            same += 1
        else:
            survivors.append(f"{mutant.group}: {mutant.change}")
    return {
        "worlds": len(worlds),
        "mutants": sum(made.values()),
        "caught": sum(caught.values()),
        "change_nothing": same,
        "groups": {group: {"mutants": made[group], "caught": caught[group]} for group in made},
        "survivors": survivors,
    }


def main() -> int:
    """Print, and say by the exit code whether anything survived."""
    started = time.monotonic()
    figures = run()
    if "--output" in sys.argv and sys.argv[-1] == "json":
        print(json.dumps(figures, indent=2))
    else:
        print(f"{figures['worlds']} worlds, {figures['mutants']} mutants")
        for group, one in figures["groups"].items():
            print(f"  {group:<16} {one['caught']:>4} of {one['mutants']} caught")
        print(f"  {figures['change_nothing']} known to change nothing")
        for survivor in figures["survivors"]:
            print(f"  SURVIVED {survivor}")
        print(f"{time.monotonic() - started:.1f} s")
    return 1 if figures["survivors"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Everything that one can get wrong in the decision table, one thing at a time.

Two kinds. Of the *rules* as data: a row missing, a channel too few or too many, a pair of party and
basis too many, the restricted part, the metering. Of the *checks* as code: one left out, one that
always fits, two in the wrong order, and each operator of `streams/decision.py` and of the choice
between rules turned into another.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from streams import decision, plans, rule_sets
from streams.decision import BASES, EVENT_CHECKS, STANDING_CHECKS
from streams.facts import BIT_OF_CHANNEL
from streams.rule_sets import METERED, NO_COST_PARTY, USPS_RULES, RuleRow, RuleSet

CHANNELS = ("API", "WEBHOOK", "SEE")
# What plans take from the decision's module.
TAKEN_OVER = {"by_token", "depends_on_event", "judge_all_standing", "judge_event"}
ALL_CHANNELS = sum(BIT_OF_CHANNEL[channel] for channel in CHANNELS)


class Mutant(NamedTuple):
    """What was changed, and the decision, and the plan if it is concerned, that come of it."""

    group: str
    change: str
    decide: Callable[..., Any]
    make_plan: Callable[..., Any]


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from _of_rules()
    yield from _of_checks()
    yield from _of_operators(decision, "operator")
    yield from _of_operators(rule_sets, "choice of rules", only="rules_at")
    yield from _of_operators(plans, "plan", only="make_plan")
    yield from _of_operators(plans, "plan", only="for_event")


def _mutant(group: str, change: str, **changed: Any) -> Mutant:
    """With names of the decision's module changed."""
    names = _module()
    names.update(changed)
    return _of_decision(group, change, names)


def _of_decision(group: str, change: str, names: dict[str, Any]) -> Mutant:
    return Mutant(group, change, names["decide"], _plans_on(_module(source=plans), names))


def _plans_on(own: dict[str, Any], decision_names: dict[str, Any]) -> Callable[..., Any]:
    """Plans that decide by these names."""
    own.update({name: decision_names[name] for name in own if name in TAKEN_OVER})
    make_plan: Callable[..., Any] = own["make_plan"]
    return make_plan


def _module(tree: ast.Module | None = None, source: Any = decision) -> dict[str, Any]:
    """The decision's module anew, of this tree."""
    names: dict[str, Any] = {"__name__": source.__name__}
    code = compile(tree or inspect.getsource(source), source.__name__, "exec")
    exec(code, names)
    return names


def _with_rules(change: str, rules: RuleSet) -> Mutant:
    """Decide by these instead of the built-in ones; those of a world's log still count."""

    def rules_at(later: Any, now_ms: int) -> RuleSet:
        chosen = rule_sets.rules_at(later, now_ms)
        return rules if chosen is USPS_RULES else chosen

    return _mutant("rule", change, rules_at=rules_at)


def _of_rules() -> Iterator[Mutant]:
    rows = USPS_RULES.rows

    def mutant(change: str, changed: tuple[RuleRow, ...]) -> Mutant:
        return _with_rules(change, replace(USPS_RULES, rows=changed))

    for at, row in enumerate(rows):
        name = f"{row.party_type} by {row.basis}"
        yield mutant(f"{name}: no such row", rows[:at] + rows[at + 1 :])
        for channel in CHANNELS:
            mask = row.channel_mask ^ BIT_OF_CHANNEL[channel]
            word = "without" if row.channel_mask & BIT_OF_CHANNEL[channel] else "with"
            changed = replace(row, channel_mask=mask)
            yield mutant(f"{name}: {word} {channel}", (*rows[:at], changed, *rows[at + 1 :]))
        changed = replace(row, restricted=not row.restricted)
        yield mutant(f"{name}: restricted turned", (*rows[:at], changed, *rows[at + 1 :]))
        metering = NO_COST_PARTY if row.metering == METERED else METERED
        changed = replace(row, metering=metering)
        yield mutant(f"{name}: {metering}", (*rows[:at], changed, *rows[at + 1 :]))
    known = {(row.party_type, row.basis) for row in rows}
    for party in dict.fromkeys(row.party_type for row in rows):
        for basis in BASES:
            if (party, basis) not in known:
                extra = RuleRow(party, basis, ALL_CHANNELS, False, NO_COST_PARTY)
                yield mutant(f"{party} by {basis}: a row too many", (*rows, extra))
    for ms in (-1, 1):
        moved = replace(USPS_RULES, metered_from=USPS_RULES.metered_from + ms)
        yield _with_rules(f"metering from {ms:+d} ms", moved)


# Two checks side by side of which at most one can fit, so that their order says nothing.
EXCLUSIVE = {
    ("grant_not_yet", "grant_expired"),
    ("terms_not_accepted", "agreement_pending"),
    ("agreement_not_yet", "agreement_expired"),
    ("agreement_mid_not_listed", "merchant_token_ended"),
}


def _of_checks() -> Iterator[Mutant]:
    for name, checks in (("STANDING_CHECKS", STANDING_CHECKS), ("EVENT_CHECKS", EVENT_CHECKS)):
        own = _module()[name]
        for at, (reason, _) in enumerate(checks):
            without = own[:at] + own[at + 1 :]
            yield _mutant("check", f"{reason}: left out", **{name: without})
            always = (*own[:at], (reason, lambda *_: True), *own[at + 1 :])
            yield _mutant("check", f"{reason}: always", **{name: always})
            if at and (checks[at - 1][0].value, reason.value) not in EXCLUSIVE:
                swapped = (*own[: at - 1], own[at], own[at - 1], *own[at + 1 :])
                yield _mutant("order", f"{reason} before {checks[at - 1][0]}", **{name: swapped})


_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
}


def _changed(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What may be changed at a node: its description, and the change to a copy of it."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            other = _COMPARED[type(operator)]

            def compare(copied: ast.Compare, at: int = at, other: Any = other) -> None:
                copied.ops[at] = other()

            yield f"{type(operator).__name__} to {other.__name__}", compare
    elif isinstance(node, ast.BoolOp):
        flipped = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield (
            f"{type(node.op).__name__} to {flipped.__name__}",
            lambda copied: setattr(copied, "op", flipped()),
        )
        # In its place what says nothing: True beside "and", False beside "or".
        silent = isinstance(node.op, ast.And)
        for at in range(len(node.values)):

            def leave_out(copied: ast.BoolOp, at: int = at, silent: bool = silent) -> None:
                copied.values[at] = ast.Constant(silent)

            yield f"part {at + 1} left out", leave_out
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        twice = ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), node.operand))
        yield "not left out", lambda copied: setattr(copied, "operand", twice.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED:
        other_op = _CALCULATED[type(node.op)]
        yield (
            f"{type(node.op).__name__} to {other_op.__name__}",
            lambda copied: setattr(copied, "op", other_op()),
        )
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "a number more", lambda copied: setattr(copied, "value", copied.value + 1)


def _of_operators(source: Any, group: str, only: str = "") -> Iterator[Mutant]:
    text = inspect.getsource(source)
    tree = ast.parse(text)
    lines = text.splitlines()
    inside: ast.AST = tree
    if only:
        inside = next(
            one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == only
        )
    wanted = {id(node) for node in ast.walk(inside)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) not in wanted:
            continue
        for number, (change, _) in enumerate(_changed(node)):
            copied = copy.deepcopy(tree)
            target = list(ast.walk(copied))[index]
            list(_changed(target))[number][1](target)
            ast.fix_missing_locations(copied)
            line = getattr(node, "lineno", 0)
            names = _module(copied, source)
            what = f"line {line}, {change}: {lines[line - 1].strip()}"
            if source is decision:
                yield _of_decision(group, what, names)
            elif source is plans:
                yield Mutant(group, what, decision.decide, _plans_on(names, vars(decision)))
            else:
                yield _mutant(group, what, rules_at=names[only])

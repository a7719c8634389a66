"""`--furthest`: channels cut as far as the metric allows, measured before the export."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from studio.core.errors import PlanError, Refused

if TYPE_CHECKING:
    from studio.cli._common import Progress
    from studio.core.plan import Step
    from studio.session import Session

TECHNIQUE, DROP = "prune_channels", "drop"
FORM = "Write LAYER:prune_channels(drop=0.01,key=value,..), '*' for all of the network; drop=0.01 is one point."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which channels to cut, and what that may cost."""
    parser.add_argument(
        "--furthest", action="append", default=[], metavar="SPEC",
        help="cut channels as far as a drop of the metric allows, found by measuring: "
        "'LAYER:prune_channels(drop=0.01)', globs allowed; in order, on top of all steps",
    )  # fmt: skip


def parse(text: str) -> tuple[str, float, Step]:
    """Layer or glob, the drop that is allowed, and the other settings as a step; raises PlanError."""
    from studio.core.plan import Step
    from studio.core.setspec import parse_call

    where = f"--furthest '{text}'"
    layer, colon, call = text.rpartition(":")
    try:
        name, settings = parse_call(call, FORM)
        drop = settings.pop(DROP, None)
        if not (layer.strip() and colon and name == TECHNIQUE):
            raise PlanError("this is no cut of channels.", remedy=FORM)
        if "amount" in settings:
            raise PlanError("the amount is what is looked for.", remedy="Leave it out, or give it with --set.")
        if isinstance(drop, bool) or not isinstance(drop, int | float) or not 0 <= drop <= 1:
            raise PlanError("it does not say how much of the metric may be lost.", remedy=FORM)
        return layer.strip(), float(drop), Step(name, **settings)
    except PlanError as error:
        raise PlanError(error.what, where=where, remedy=error.remedy) from None


def cut(session: Session, wanted: list[tuple[str, float, Step]], progress: Progress) -> list[dict[str, Any]]:
    """Make each furthest cut part of the session's plan, in order; answers with what was decided.

    Where even the smallest cut costs more than may be lost, the plan stays as it was. Raises Refused
    for layers of which nothing can be cut, DataError, Cancelled.
    """
    from studio.engine.furthest_cut import furthest_cut

    answer = []
    for layers, drop, step in wanted:
        groups = _groups(session, layers)
        found = furthest_cut(session.engine, session.plan, groups, drop, step=step, progress=progress)
        if found.amount > 0:
            session.set_plan(found.plan, f"furthest cut of {layers}")
            session.cancel()
        row = {"layers": layers, "groups": groups, "drop": drop, "amount": found.amount}
        row |= {"reference": found.reference, "value": found.result.value, "samples": found.result.samples}
        answer.append(row)
    return answer


def sentence(row: dict[str, Any]) -> str:
    """One decided cut for a person."""
    if row["amount"] == 0:
        return f"furthest cut of {row['layers']}: even the smallest costs more than {100 * row['drop']:g} pt"
    lost = f"{100 * (row['value'] - row['reference']):+.2f} points"
    where = f"decided on the {row['samples']:,} evaluation samples"
    return f"furthest cut of {row['layers']}: amount {100 * row['amount']:.1f} %, {lost}, {where}"


def _groups(session: Session, layers: str) -> list[str] | None:
    """Channel groups that a pattern means; None for all of the network, which makes the cut a default."""
    from studio.session.layer_parts import cut_groups

    if layers == "*":
        return None
    found = session.graph.match(layers)
    groups = cut_groups(found)
    if not groups:
        reason = found[0].uncut or f"{found[0].name} is in no channel group."
        raise Refused(reason, where=f"--furthest {layers}", remedy="`edge-studio inspect` lists the channel groups.")
    return list(groups)

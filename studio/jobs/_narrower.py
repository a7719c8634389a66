"""A narrower copy of the network as student: one cut of all channel groups, as a step of the plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from studio.core.errors import PlanError
from studio.core.plan import Plan, Step


def narrowed(plan: Plan, jobs: Iterable[Any]) -> Plan:
    """Return the plan with the cut that the settings of these jobs ask for; the plan itself where none does.

    The cut is a default of the plan, so that undo, export and the plan's file treat it as any other, and
    takes the place of the plan's own cuts; groups whose cut is switched off stay whole. A training result
    for other cuts is left behind: what it trained has other shapes. Raises PlanError where the jobs ask for
    different cuts.
    """
    cuts = [_cut(settings) for settings in jobs if getattr(settings, "width", 1.0) < 1]
    if not cuts:
        return plan
    if any(cut != cuts[0] for cut in cuts):
        what = "the jobs make the network narrower in different ways, and each would begin anew."
        remedy = "Give width, start, minimum and multiple to one of them, or the same to all."
        raise PlanError(what, where="width", remedy=remedy)
    found = replace(plan.with_default(cuts[0]), groups=_switched_off(plan))
    return plan if found == plan else replace(found, state=None)


def _cut(settings: Any) -> Step:
    amount = round(1 - settings.width, 6)
    step = Step(
        "prune_channels", amount=amount, scope="layer", minimum=settings.minimum, multiple=settings.multiple
    )  # fmt: skip
    # Of weights that are drawn anew none is important and nothing can be fitted: any channels may go.
    return step.with_settings(criterion="l1", reestimate=False) if settings.start == "fresh" else step


def _switched_off(plan: Plan) -> dict[str, tuple[Step, ...]]:
    return {name: steps for name, steps in plan.groups.items() if all(step.technique is None for step in steps)}

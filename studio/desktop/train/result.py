"""What a training result is to the plan in use, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.jobs._narrower import narrowed
from studio.jobs._recipe import trained

if TYPE_CHECKING:
    from studio.core.jobspec import JobSpec
    from studio.core.plan import Plan
    from studio.core.state import State
    from studio.jobs._recipe import Recipe
    from studio.session import Session

TAKEN = "trained: "
"""How the history names the entry that made a result the plan."""
PARTS = {
    "activations": "the bits of tensors", "calibration": "the calibration", "attention": "the attention stage",
    "preprocess": "the preprocessing", "export": "the export options",
}  # fmt: skip


def in_use(session: Session, state: str) -> str:
    """Say whether the plan stands on a result, by its id, and whether undo would take that back."""
    if session.plan.state != state:
        return "The result is not in use"
    taken = (session.undo_label or "").startswith(TAKEN)
    return "The result is in use; undo takes it back" if taken else "The result is in use"


def put_aside(session: Session, recipe: Recipe, state: State) -> str:
    """Say what of the current plan a result would put aside, as it comes with the plan it was made on; else nothing."""
    mine, its = narrowed(session.plan, [spec.values for spec in recipe.jobs]), recipe.plan
    count = len(_layers(session, mine, its))
    parts = [f"{count} layer{'s' if count > 1 else ''}"] if count else []
    if _jobs_differ(mine, its, trained(recipe, state)):
        parts.append("the recipe")
    alone = _written(recipe.jobs) != _written(its.jobs)  # a whole recipe begins without the plan's result
    if mine.state not in (None, its.state) and alone:
        parts.append("another training result")
    one, other = mine.to_json(), its.to_json()
    parts += [name for part, name in PARTS.items() if one[part] != other[part]]
    if not parts:
        return ""
    return (
        "The result belongs to the plan it was started with. What is different now "
        f"({', '.join(parts)}) is put aside; undo brings it back."
    )


def _layers(session: Session, mine: Plan, its: Plan) -> set[str]:
    """Names of the layers that have other steps in one plan than in the other, factors too."""
    groups = {layer.name: layer.group or "" for layer in session.graph.weighted}
    return {
        name
        for name in {*groups, *mine.layers, *its.layers}
        if mine.steps(name) != its.steps(name)
        or mine.groups.get(groups.get(name, "")) != its.groups.get(groups.get(name, ""))
    }


def _jobs_differ(mine: Plan, its: Plan, after: Plan) -> bool:
    """True where the recipe was edited since the start, or the jobs behind the result take its place."""
    now, then, made = (_written(plan.jobs) for plan in (mine, its, after))
    return now != made and (now != then or made[: len(now)] != now)


def _written(jobs: Sequence[JobSpec]) -> list[dict[str, Any]]:
    return [spec.to_json() for spec in jobs]

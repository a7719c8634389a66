"""Shipped plans with one line each that says what they do, made from the plan itself."""

from __future__ import annotations

from studio.core import paths
from studio.core.plan import Plan

FIRST = "int8"
"""The preset behind Ctrl+1: what most people want first."""
LEARNED = "rounding is learned in the background, nearest rounding stands for it meanwhile"


def names() -> tuple[str, ...]:
    """Names of all presets, `FIRST` at the head."""
    found = [file.stem for file in paths.resource("presets").glob("*.json")]
    return tuple(sorted(found, key=lambda name: (name != FIRST, name)))


def load(name: str) -> Plan:
    """Plan of a preset."""
    return Plan.load(paths.resource("presets") / f"{name}.json")


def describe(plan: Plan) -> str:
    """One line: the techniques in the order in which they act, with the setting on their chips."""
    steps = [step for step in plan.defaults if step.technique is not None]
    text = ", then ".join(f"{step.found.title.lower()} ({step.found.chip(step.values)})" for step in steps)
    learned = any(getattr(step.values, "rounding", "") == "learned" for step in steps)
    return f"All layers: {text or 'nothing'}" + (f"; {LEARNED}" if learned else "")

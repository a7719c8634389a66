"""Reports of a job made into curves over its steps, those of all jobs of a recipe behind each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.jobs._folder import Told

WITHOUT = "without teacher"
"""Ending of the curves of the run without a teacher: it goes over the run with one, not behind it."""


class Course:
    """Curves as far as they are known.

    `curves`: value by step, by the curve's name. `marks`: name of the job that begins at a step, of a recipe.
    """

    def __init__(self, jobs: Sequence[str] = ()) -> None:
        """`jobs`: titles of the recipe's jobs in order."""
        self.curves: dict[str, dict[int, float]] = {}
        self.marks: dict[int, str] = {}
        self._jobs = jobs
        self._begins = {0: 0}

    def add(self, reports: Sequence[Told]) -> None:
        """Take new reports; a step told again replaces the first, but a job's begin not the end of the one before."""
        for told in reports:
            begin = self._begin(told)
            for name, value in told.report.values.items():
                points, step = self.curves.get(name, {}), begin + own_step(told, name)
                if math.isfinite(value) and not (step == begin and begin in points and told.job):
                    self.curves.setdefault(name, {})[step] = value

    @property
    def compared(self) -> bool:
        """True where a run without teacher goes beside the one with."""
        return any(name.endswith(WITHOUT) for name in self.curves)

    def _begin(self, told: Told) -> int:
        """Step of the whole at which the job of a report begins: behind what was told of those before it."""
        if told.job not in self._begins:
            self._begins[told.job] = max((step for points in self.curves.values() for step in points), default=0)
        begin = self._begins[told.job]
        if len(self._jobs) > 1 and told.job < len(self._jobs):
            self.marks[begin] = f"{told.job + 1}. {self._jobs[told.job]}"
        return begin


def own_step(told: Told, name: str) -> int:
    """Step of a curve in its own run: the run without teacher is the second half of its job."""
    return told.report.step - (told.report.steps // 2 if name.endswith(WITHOUT) else 0)

"""Curves from reports: runs side by side, jobs behind each other."""

from __future__ import annotations

from studio.desktop.train.course import Course
from studio.jobs._base import Report
from studio.jobs._folder import Told


def told(job: int, step: int, steps: int, **values: float) -> Told:
    return Told(job, Report(step, steps, 0, {name.replace("_", " "): v for name, v in values.items()}), 0.0)


def test_the_run_without_teacher_lies_over_the_one_with() -> None:
    course = Course(["distill"])
    course.add([told(0, 10, 40, validation=0.5), told(0, 20, 40, validation=0.6)])
    assert not course.compared
    course.add([told(0, 30, 40, without_teacher=0.4), told(0, 40, 40, without_teacher=0.7)])
    assert course.curves == {"validation": {10: 0.5, 20: 0.6}, "without teacher": {10: 0.4, 20: 0.7}}
    assert course.compared
    assert not course.marks


def test_jobs_of_a_recipe_go_on_behind_each_other() -> None:
    course = Course(["Retrain", "Tune"])
    course.add([told(0, 8, 8, loss=2.0), told(1, 3, 6, loss=1.5), told(1, 6, 6, loss=1.0)])
    assert course.curves == {"loss": {8: 2.0, 11: 1.5, 14: 1.0}}
    assert course.marks == {0: "1. Retrain", 8: "2. Tune"}


def test_what_a_job_begins_with_does_not_replace_what_the_one_before_ended_with() -> None:
    course = Course(["Retrain", "Tune"])
    course.add([told(0, 0, 8, validation=0.1), told(0, 8, 8, validation=0.9)])
    course.add([told(1, 0, 6, validation=0.5), told(1, 6, 6, validation=0.8)])
    assert course.curves == {"validation": {0: 0.1, 8: 0.9, 14: 0.8}}


def test_a_step_told_again_replaces_the_first_and_no_number_is_left_out() -> None:
    course = Course(["retrain"])
    course.add([told(0, 5, 10, loss=2.0), told(0, 5, 10, loss=1.0), told(0, 6, 10, loss=float("nan"))])
    assert course.curves == {"loss": {5: 1.0}}

"""What a training would do, said before it starts: what is trained, on which samples, and how long it takes here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from studio.core import registry
from studio.core.graph import Graph
from studio.core.jobspec import JobSpec
from studio.core.plan import Plan
from studio.core.step import Step, Steps
from studio.core.technique import Stage
from studio.jobs._estimate import Estimate, measure
from studio.jobs._recipe import Recipe, plan_of
from studio.jobs._samples import split
from studio.jobs._settings import TrainingSettings

if TYPE_CHECKING:
    from studio.session.session import Session


@dataclass(frozen=True)
class Outlook:
    """One job as it would run. `steps`: by technique with its chip ("Quantize (Q8)") the number of layers.

    `after`: those of the steps that round, where the job trains in float and they come only after it.
    `labelled`: False where it learns what the original network, or a teacher, says of the samples. `absent`:
    classes without a sample.
    """

    layers: int
    parameters: int
    data: str
    trained: int  # samples that are trained on
    held: int  # samples kept aside for validation
    batches: int  # of an epoch
    epochs: int
    steps: Mapping[str, int]
    after: frozenset[str] = frozenset()
    labelled: bool = True
    absent: int = 0

    def words(self) -> str:
        """In two sentences, and one more each where rounding comes after, or labels or classes are missing."""
        plan = _on_layers({step: n for step, n in self.steps.items() if step not in self.after})
        after = _on_layers({step: n for step, n in self.steps.items() if step in self.after})
        how = f"with {plan or 'no compression'}."
        if after:
            how = f"in float{f', with {plan}' if plan else ''}. Rounding comes after: {after}; "
            how += "Quantization-aware training trains with it."
        samples = f"{self.trained:,} samples of {self.data}, {self.held:,} more for validation"
        epochs = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''} of {self.batches:,} batches"
        labels = "" if self.labelled else " They have no labels: it learns what the teacher says of them."
        if self.absent:
            labels = f" Classes without a sample: {self.absent}; training unlearns them."
        return f"{self.layers} layers, {self.parameters:,} parameters, {how} On {samples}: {epochs}.{labels}"


def _on_layers(steps: Mapping[str, int]) -> str:
    return ", ".join(f"{step} on {n} layer{'s' if n > 1 else ''}" for step, n in steps.items())


def outlook(session: Session, specs: Sequence[JobSpec] = (), index: int = 0) -> Outlook:
    """Return what job `index` of some jobs would do on the current plan; without `specs` of the plan's own.

    Raises Refused where one of the jobs cannot run on this plan and data.
    """
    return outlook_of(session, session.jobs.recipe(specs), index)


def outlook_of(session: Session, recipe: Recipe, index: int = 0) -> Outlook:
    """Return what job `index` of a recipe of the session would do."""
    spec, engine = recipe.jobs[index], session.engine
    plan = plan_of(recipe.plan, spec, session.graph, recipe.plan.state)
    weighted = engine.variant(plan).graph.weighted
    samples = split(engine, cast(TrainingSettings, spec.values))
    steps = [step for own in engine.resolve(plan).steps.values() for step in own]
    in_float = registry.find("jobs", spec.job).in_float
    after = {_named(step) for step in steps if step.stage == Stage.GRID and in_float}
    return Outlook(
        len(weighted), sum(layer.parameters for layer in weighted), samples.dataset.name, len(samples.trained),
        len(samples.held), samples.batches, samples.settings.epochs, dict(Counter(map(_named, steps))),
        frozenset(after), samples.labels is not None, samples.absent,
    )  # fmt: skip


def _named(step: Step) -> str:
    return f"{step.found.title} ({step.found.chip(step.values)})"


def measure_times(
    session: Session,
    specs: Sequence[JobSpec] = (),
    progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Estimate, ...]:
    """Measure the time of some jobs on the current plan, each in a process like its own; without `specs` the plan's.

    Later jobs of a recipe are timed on the state that the plan has now: what they compute has the same shapes.
    Raises Refused, Cancelled where `stop()` says so, and what a job ends with where it fails that early.
    """
    recipe = session.jobs.recipe(specs)
    state = session.engine.state(recipe.plan)
    found = []
    for i, spec in enumerate(recipe.jobs):
        if progress:
            progress(spec.job, i, len(recipe.jobs))
        found.append(measure(replace(recipe, jobs=(spec,)), state, stop))
    return tuple(found)


def with_steps_of(spec: JobSpec, plan: Plan, graph: Graph) -> JobSpec:
    """Return a job that holds the steps that a plan has now, whatever the plan becomes later in the recipe."""
    defaults = tuple(step for step in plan.defaults if step.stage != Stage.STRUCTURE)
    cuts = tuple(step for step in plan.defaults if step.stage == Stage.STRUCTURE)
    own = {name: _own(plan, name, graph) for name in plan.layers if name in graph}  # factors follow their layer
    groups = {**({"*": cuts} if cuts else {}), **plan.groups}
    return replace(spec, layers={"*": defaults, **own}, groups=groups)


def _own(plan: Plan, name: str, graph: Graph) -> Steps:
    """Steps of a layer that has some of its own: those, and the defaults of other stages that it can take."""
    mine, layer = plan.layers[name], graph.layer(name)
    steps = (step for step in plan.steps(name) if step.stage != Stage.STRUCTURE)
    return tuple(step for step in steps if step in mine or step.found.refuses(layer, step.values) is None)

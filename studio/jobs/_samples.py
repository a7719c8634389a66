"""Training samples: what is held back, and which come when; all of it a function of the seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from studio import data
from studio.core.errors import DataError
from studio.data import Dataset
from studio.engine.engine import Engine
from studio.engine.evaluator import CHUNK
from studio.jobs._augment import augment, channels_first, generator_of, mix
from studio.jobs._settings import TrainingSettings

SOME, FEWEST = 256, 16
"""Samples from which statistics are taken: so many, or as many as `BYTES` hold of the largest tensor."""
BYTES = 1 << 27


@dataclass(frozen=True, eq=False)
class Samples:
    """Training samples of one run. `trained` and `held` (validation): positions in the data set."""

    dataset: Dataset
    settings: TrainingSettings
    trained: np.ndarray
    held: np.ndarray
    labels: Tensor | None  # int64 (count,), None where the network is no classifier or there are none
    classes: int  # of the network, where there are labels
    few: int = SOME
    _orders: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def batches(self) -> int:
        """Steps of an epoch; what is left over at the end waits for the next shuffle."""
        return len(self.trained) // self.settings.batch_size

    @property
    def absent(self) -> int:
        """Classes that no sample has; 0 without labels."""
        return 0 if self.labels is None else self.classes - len(np.unique(self.labels.numpy()))

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Augmented samples and labels of a step, counted through all epochs; see `mix` for labels of mixed ones."""
        epoch, place = divmod(step, self.batches)
        size = self.settings.batch_size
        indices = self._order(epoch)[place * size : (place + 1) * size]
        x = torch.from_numpy(self.dataset.batch(indices))
        labels = None if self.labels is None else self.labels[indices]
        first = channels_first(x.shape, self.dataset.preprocess.layout)
        x = x if first else x.movedim(-1, 1)
        draws = generator_of(self.settings.seed, step)
        x, labels = mix(augment(x, self.settings, draws), labels, self.classes, self.settings, draws)
        return (x if first else x.movedim(1, -1).contiguous()), labels

    @cached_property
    def validation(self) -> list[tuple[Tensor, Tensor | None]]:
        """Samples held back, in batches of CHUNK, without augmentation."""
        parts = [self.held[i : i + CHUNK] for i in range(0, len(self.held), CHUNK)]
        found = [torch.from_numpy(self.dataset.batch(part)) for part in parts]
        return [(x, None if self.labels is None else self.labels[p]) for x, p in zip(found, parts, strict=True)]

    @cached_property
    def some(self) -> Tensor:
        """Training samples for statistics, the same for every run with this seed; fewer where tensors are large."""
        draws = np.random.default_rng(self.settings.seed)
        chosen = draws.choice(self.trained, min(self.few, len(self.trained)), replace=False)
        return torch.from_numpy(self.dataset.batch(chosen))

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = np.random.default_rng([self.settings.seed, epoch]).permutation(self.trained)
        return self._orders[epoch]


def training_data(engine: Engine) -> Dataset:
    """Training data of an engine; raises DataError where there is none, or where it is the evaluation data."""
    if "train" not in engine.sources:
        remedy = "Give training data with --train-data (in the app: Data)."
        raise DataError("training needs samples, and there is no training data.", remedy=remedy)
    found, evaluation = engine.sources["train"], engine.sources.get("evaluation")
    if evaluation is not None and found.source == evaluation.source:
        what = "this is the evaluation data too: accuracy after training on it would say nothing."
        raise DataError(what, where=found.source, remedy="Give other data with --train-data.")
    return found


def split(engine: Engine, settings: TrainingSettings) -> Samples:
    """Training samples of an engine, the validation share drawn by class with the seed.

    Raises DataError for labels that are no classes of the network, and where fewer than a batch are left.
    """
    dataset = training_data(engine)
    classes = _classes(engine)
    labels = _labels(engine, dataset, classes)
    order = dataset.order(settings.seed)
    held = max(1, round(settings.validation * dataset.count))
    trained = order[held:]
    if len(trained) < settings.batch_size:
        lower = f"Lower batch_size (now {settings.batch_size}) or give" if settings.batch_size > 1 else "Give"
        what = f"{len(trained):,} training samples are left beside {held:,} for validation: fewer than one batch."
        raise DataError(what, where=dataset.source, remedy=f"{lower} more data.")
    few = BYTES // max(layer.activation_bytes for layer in engine.graph.layers)
    few = max(FEWEST, min(SOME, few))
    return Samples(dataset, settings, np.sort(trained), np.sort(order[:held]), labels, classes, few)


def _classes(engine: Engine) -> int:
    """Classes that a network tells apart; 0 where its output is no vector, or it has several."""
    shape = engine.graph.layer(engine.graph.outputs[0]).output_shape
    classes = int(shape[1]) if len(shape) > 1 else 1
    return classes if int(np.prod(shape[1:])) == classes and len(engine.graph.outputs) == 1 else 0


def _labels(engine: Engine, dataset: Dataset, classes: int) -> Tensor | None:
    if dataset.labels is None or not classes:
        return None
    data.check_labels(dataset, classes)
    _check_classes(engine, dataset, classes)
    return torch.from_numpy(np.asarray(dataset.labels, np.int64))


def _check_classes(engine: Engine, dataset: Dataset, count: int) -> None:
    if dataset.classes and len(dataset.classes) != count:
        what = f"it names {len(dataset.classes)} classes, and the network tells {count} apart."
        raise DataError(what, where=dataset.source, remedy="Give data with the classes of the network.")
    evaluation = engine.sources.get("evaluation")
    theirs = None if evaluation is None else evaluation.classes
    if dataset.classes and theirs and list(dataset.classes) != list(theirs):
        pairs = enumerate(zip(dataset.classes, theirs, strict=False))
        first = next((f"class {i} is {a}, not {b}" for i, (a, b) in pairs if a != b), f"{len(dataset.classes)} of them")
        what = f"its classes are not those of the evaluation data (first difference: {first})."
        remedy = "Give training data with the same classes in the same order."
        raise DataError(what, where=dataset.source, remedy=remedy)

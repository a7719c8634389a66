"""Teachers: what they are asked, and how far a student is from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from studio import formats
from studio.core.errors import Refused
from studio.engine.engine import Engine
from studio.jobs._goal import Ends, Values, ends_of, relative_error, rows
from studio.jobs._trainable import Change, multiplying
from studio.lowering.build import tensor_shapes
from studio.network.fold import fold
from studio.network.network import Network

ANGLES = 2.0
"""Weight of angles beside distances (Park 2019, section 4)."""
NEAR = 1e-12
INNER = 3
"""Most tensors that are compared inside."""


@dataclass(frozen=True)
class Pair:
    """Tensors of student and teacher with the same places."""

    student: str
    teacher: str


def load(engine: Engine, path: str) -> Network:
    """Teacher from a file, folded; the original network for an empty path.

    Raises FileError for a file that cannot be read, Refused where its input or outputs do not fit.
    """
    if not path:
        return engine.network
    teacher = fold(formats.read(Path(path).expanduser()))
    ours, theirs = (_shapes(network) for network in (engine.network, teacher))
    for what, mine, its in zip(("takes", "gives"), ours, theirs, strict=True):
        if mine != its:
            wrong = f"the teacher {what} {_words(its)}, the network {_words(mine)}."
            remedy = (
                f"Choose a teacher from {_words(ours[0])} to {_words(ours[1])}, or none for the original network. "
                "If this file is to be the student, open it as the model and give the original as the teacher."
            )
            raise Refused(wrong, where=path, remedy=remedy)
    return teacher


def _shapes(network: Network) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of inputs and outputs of a sample; outputs without axes of size 1, which a flatten may have left."""
    shapes = tensor_shapes(network)
    outputs = [tuple(n for n in shapes[name][1:] if n > 1) for name in network.outputs]
    return [shapes[node.name][1:] for node in network.inputs], outputs


def _words(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "1" for shape in shapes)


def inner_pairs(student: Network, teacher: Network) -> list[Pair]:
    """Last tensors before each change of size, of both networks, where these have the same places."""
    ours, theirs = (_levels(network) for network in (student, teacher))
    return [Pair(ours[size], theirs[size]) for size in ours if size in theirs][-INNER:]


def _levels(network: Network) -> dict[tuple[int, ...], str]:
    """Last node of each spatial size, in order."""
    found: dict[tuple[int, ...], str] = {}
    shapes = tensor_shapes(network)
    for node in network.nodes:
        shape = shapes[node.name]
        if len(shape) > 2 and max(shape[2:]) > 1 and node.kind not in ("input", "constant"):
            found.pop(shape[2:], None)
            found[shape[2:]] = node.name
    return found


def before_scores(network: Network, ends: Ends) -> str:
    """Tensor that the class scores are made from: where samples lie to each other."""
    name = ends.logits or ends.outputs[0]
    return network.by_name[name].inputs[0]


class Guide:
    """Everything that a student is told beside its labels."""

    def __init__(
        self, teacher: Network, student: Network, classifier: bool, weights: Mapping[str, float], half: bool = False,
        inputs: Change = lambda x: x,
    ) -> None:  # fmt: skip
        """`weights`: of hints, attention and relations; `half`: the teacher multiplies in bfloat16.

        `inputs`: change of samples to what the teacher takes.
        """
        self.ends, self._half, self._inputs = ends_of(teacher, classifier), half, inputs
        self._teacher, self._weights = teacher, {name: w for name, w in weights.items() if w}
        inside = {"hints", "attention"} & self._weights.keys()
        self._pairs = inner_pairs(student, teacher) if inside else []
        self._last = Pair(before_scores(student, ends_of(student, classifier)), before_scores(teacher, self.ends))
        self.adapters: list[Tensor] = []

    @property
    def keep(self) -> tuple[str, ...]:
        """Nodes of the student that are needed."""
        last = (self._last.student,) if "relations" in self._weights else ()
        return (*(pair.student for pair in self._pairs), *last)

    def ask(self, x: Tensor) -> Values:
        """What the teacher computes for a batch, without gradients."""
        x = self._inputs(x)
        keep = {*self.ends.keep, self._last.teacher, *(pair.teacher for pair in self._pairs)}
        if x.dim() == 4:  # channels innermost, as the student has them: takes a sixth less time
            x = x.contiguous(memory_format=torch.channels_last)
        parts = [x] if self._teacher.free_batch else list(torch.split(x, 1))
        with multiplying(self._half):
            found = [self._teacher.run((part,), keep=sorted(keep)) for part in parts]
        return {name: torch.cat([one[name] for one in found]).float() for name in found[0]}

    def fit_adapters(self, student: Values, teacher: Values) -> None:
        """Make the 1x1 adapters, (teacher channels, student channels), by least squares on some samples."""
        if "hints" not in self._weights:
            return
        for pair in self._pairs:
            a, b = (v.movedim(1, -1).flatten(0, -2) for v in (student[pair.student], teacher[pair.teacher]))
            gram = a.T @ a + 1e-3 * a.square().mean() * len(a) * torch.eye(a.shape[1])
            self.adapters.append(torch.linalg.solve(gram, a.T @ b).T.contiguous().detach().requires_grad_())

    def inner_loss(self, student: Values, teacher: Values) -> Tensor:
        """Weighted sum of the losses on inner tensors; zero where none is asked for."""
        total = torch.zeros(())
        for i, pair in enumerate(self._pairs):
            a, b = student[pair.student], teacher[pair.teacher]
            if "hints" in self._weights:
                adapted = torch.einsum("oc,nc...->no...", self.adapters[i], a)
                total = total + self._weights["hints"] * relative_error(adapted, b) / len(self._pairs)
            if "attention" in self._weights:
                total = total + self._weights["attention"] * attention_distance(a, b) / len(self._pairs)
        if "relations" in self._weights:
            a, b = rows(student[self._last.student]), rows(teacher[self._last.teacher])
            total = total + self._weights["relations"] * relation_distance(a, b)
        return total


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the maps of mean square over channels, each of length 1 (Zagoruyko 2017, equation 2)."""
    maps = [functional.normalize(v.square().mean(1).flatten(1)) for v in (student, teacher)]
    return (maps[0] - maps[1]).square().sum(1).mean()


def relation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber distance of all distances and angles between the samples of a batch, rows (N, values) (Park 2019)."""
    far = functional.smooth_l1_loss(_distances(student), _distances(teacher))
    return far + ANGLES * functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _distances(x: Tensor) -> Tensor:
    """Distances (N, N) over their mean."""
    squares = x.square().sum(1)
    found = (squares[:, None] + squares[None] - 2 * x @ x.T).clamp_min(NEAR).sqrt()
    found = found * (1 - torch.eye(len(x)))
    return found / found[found > 0].mean().clamp_min(NEAR)


def _angles(x: Tensor) -> Tensor:
    """Cosines (N, N, N): between the directions from sample i to j and to k."""
    directions = functional.normalize(x[None] - x[:, None], dim=2)
    return torch.bmm(directions, directions.transpose(1, 2))

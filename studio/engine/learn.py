"""Learned rounding over a whole network: layer by layer in its order (Nagel et al. 2020; Frantar et al. 2023).

Each layer reads what the already compressed layers before it give and is fitted to what the float
network gives, so that later layers make good what earlier ones got wrong. Weights on a grid learn which
way to round (`rounding`), weights that share values which one to take (`assignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from studio.core.encoding import Codebook, Encoding, Grid, Sparse
from studio.core.errors import Cancelled, DataError
from studio.engine import assignment, rounding, rows
from studio.lowering.forms import bounds
from studio.network.network import Network, Node
from studio.network.operators import Operator
from studio.network.parameters import with_parameters
from studio.techniques._weight_levels import levels_around

STEPS = 800
ROWS = 64_000
"""Places of a layer's output, over all samples, that it is fitted on."""
BYTES = 256 << 20
"""Most memory for those rows."""
SEED = 0

Batches = list[Tensor]


@dataclass(frozen=True, eq=False)
class Learned:
    """What learning gave for one layer."""

    encoding: Encoding  # of the kind that it was: Grid or Codebook, or Sparse over it
    bias: np.ndarray  # (channels,) float32


def learn_rounding(
    network: Network,
    encodings: Mapping[str, Encoding],
    learn: Collection[str],
    samples: Sequence[Tensor],
    *,
    biases: Mapping[str, np.ndarray] | None = None,
    known: Mapping[str, Learned] | None = None,
    steps: int = STEPS,
    found: Callable[[str, Learned], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Learned]:
    """Integers and scales, or indices of shared values, and biases of the layers `learn`, in the network's order.

    `encodings`: by weighted layer; those to learn with nearest rounding, whose scales the levels come from
    or whose values are shared (Grid, Codebook, or Sparse over one; another kind gets a bias only); absent =
    float. `biases`: other than the network's, of layers that are not learned. `samples`: batches of the
    network's input; labels are not needed. `known`: layers learned before under the same circumstances.
    `found(layer, learned)` hears of each at once, so that a cancelled run is not lost; `progress(layer, done,
    total)` counts layers x steps. Raises Cancelled, and DataError naming the layer that reads or gives NaN.
    """
    walk = _Walk(network, samples)
    learned = {name: one for name, one in (known or {}).items() if name in learn}
    todo = [n.name for n in network.nodes if n.name in learn and n.name not in learned]
    for node in network.nodes:
        if not todo:
            break
        if stop and stop():
            raise Cancelled
        if node.name in todo:
            done = len(set(learn) - set(todo)) * steps
            report = None if progress is None else _reporter(progress, node.name, done, len(learn) * steps)
            layer = _layer if isinstance(_inside(encodings[node.name]), Grid) else _shared
            learned[node.name] = layer(walk, node, encodings[node.name], steps, report, stop)
            todo.remove(node.name)
            if found:
                found(node.name, learned[node.name])
        walk.step(node, _compressed(node, encodings, learned, biases or {}))
    return learned


def _reporter(progress: Callable[[str, int, int], None], name: str, done: int, total: int) -> Callable[[int], None]:
    return lambda step: progress(name, done + step, total)


def _compressed(
    node: Node, encodings: Mapping[str, Encoding], learned: Mapping[str, Learned], biases: Mapping[str, np.ndarray]
) -> Operator:  # fmt: skip
    """Operator as it is after compression; the same object where nothing changes."""
    encoding = learned[node.name].encoding if node.name in learned else encodings.get(node.name)
    bias = learned[node.name].bias if node.name in learned else biases.get(node.name)
    if encoding is None and bias is None:
        return node.operator
    weight: Tensor = node.operator.weight  # type: ignore[assignment]
    own: Tensor | None = node.operator.bias  # type: ignore[assignment]
    decoded = weight if encoding is None else torch.from_numpy(encoding.decode())
    return with_parameters(node.operator, decoded, own if bias is None else torch.from_numpy(bias))


class _Walk:
    """Tensors of the float and of the compressed network side by side, each while something still reads it."""

    def __init__(self, network: Network, samples: Sequence[Tensor]) -> None:
        self.network = network
        size = None if network.free_batch else 1
        self.samples = [part for batch in samples for part in torch.split(batch, size or len(batch))]
        self.float: dict[str, Batches] = {}
        self.compressed: dict[str, Batches] = {}
        self._last = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
        self._at = 0

    def step(self, node: Node, operator: Operator) -> None:
        """Run one node in both networks; `operator`: its compressed form."""
        self.float[node.name] = self.run(node, node.operator, self.float)
        same = operator is node.operator and all(self.float[i] is self.compressed[i] for i in node.inputs)
        self.compressed[node.name] = self.float[node.name] if same else self.run(node, operator, self.compressed)
        for name in node.inputs:
            if self._last[name] == self._at:
                self.float.pop(name, None)
                self.compressed.pop(name, None)
        self._at += 1

    def run(self, node: Node, operator: Operator, values: Mapping[str, Batches]) -> Batches:
        """Output of a node for all samples."""
        if node.kind == "input":
            return self.samples
        with torch.no_grad():
            if not node.inputs:
                return [operator()] * len(self.samples)
            return [operator(*parts) for parts in zip(*(values[name] for name in node.inputs), strict=True)]


def _layer(
    walk: _Walk, node: Node, encoding: Encoding, steps: int,
    progress: Callable[[int], None] | None, stop: Callable[[], bool] | None,
) -> Learned:  # fmt: skip
    """Fit one layer whose inputs the walk has reached."""
    generator = torch.Generator().manual_seed(SEED)
    grid, kept = _grid(encoding)
    lower, upper = neighbours(grid, kept, node.operator.weight.detach().numpy())  # type: ignore[operator]
    task = _task(walk, node, _with_integers(encoding, lower), _with_integers(encoding, upper), generator)
    own = len(grid.scale) == task.bias.numel() and grid.axis is not None
    scales: rounding.Scales = "own" if own else "shared" if grid.axis is None else "fixed"
    fitted = rounding.fit(task, steps, generator, scales=scales, stop=stop, progress=progress)
    q = np.where(rows.from_matrix(fitted.above, node.operator).numpy(), upper, lower)
    factor = fitted.factor.reshape(-1)[: len(grid.scale)].numpy().reshape(-1, *[1] * (grid.scale.ndim - 1))
    made = replace(grid, q=q, scale=(grid.scale * factor).astype(np.float32))
    return Learned(made if kept is None else Sparse(kept, made), fitted.bias.reshape(-1).numpy().copy())


def _shared(
    walk: _Walk, node: Node, encoding: Encoding, steps: int,
    progress: Callable[[int], None] | None, stop: Callable[[], bool] | None,
) -> Learned:  # fmt: skip
    """Assign one layer's shared values; a layer that is too small to share any gets its bias."""
    operator, book = node.operator, _inside(encoding)
    inputs, targets = _rows(walk, node, torch.Generator().manual_seed(SEED))
    weight: Tensor = operator.weight.detach()  # type: ignore[operator]
    task = assignment.task_of(inputs, targets, rows.to_matrix(weight, operator))
    if isinstance(book, Codebook):
        free = rows.to_matrix(torch.from_numpy(encoding.decode() != 0), operator)
        quick = rows.to_matrix(torch.from_numpy(book.indices.astype(np.int64)), operator)
        report = None if progress is None else lambda share: progress(int(share * steps))
        indices = assignment.assign(task, _tables(book, operator), quick, free, stop=stop, progress=report)
        book = replace(book, indices=rows.from_matrix(indices, operator).numpy().astype(np.uint8))
    made = Sparse(encoding.mask, book) if isinstance(encoding, Sparse) else book
    decoded = rows.to_matrix(torch.from_numpy(made.decode()), operator).double()
    return Learned(made, task.bias(decoded).reshape(-1).float().numpy())


def _tables(book: Codebook, operator: Operator) -> Tensor:
    """Values that each output channel may take: (groups, outputs of a group, k) float64."""
    shape = [-1 if i == book.axis else 1 for i in range(book.rank)]
    blocks = np.broadcast_to(book.block_of_channel.reshape(shape), book.shape).copy()
    return torch.from_numpy(book.table.astype(np.float64))[rows.to_matrix(torch.from_numpy(blocks), operator)[:, :, 0]]


def _inside(encoding: Encoding) -> Encoding:
    return encoding.values if isinstance(encoding, Sparse) else encoding


def _grid(encoding: Encoding) -> tuple[Grid, np.ndarray | None]:
    """Grid of an encoding, and the mask over it where there is one."""
    inner = _inside(encoding)
    if not isinstance(inner, Grid):
        raise TypeError(f"only integers on a grid have a rounding to learn, not {type(inner).__name__}")
    return inner, encoding.mask if isinstance(encoding, Sparse) else None


def neighbours(grid: Grid, kept: np.ndarray | None, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels below and above each weight as integers, int8; the grid's own, twice, where pruned."""
    steps = replace(grid, q=np.ones(grid.shape, np.int8)).decode()
    lower, upper = levels_around(weight / steps, grid.width, grid.power_of_two)
    if kept is not None:
        lower, upper = (np.where(kept, q, grid.q) for q in (lower, upper))
    return lower, upper


def _with_integers(encoding: Encoding, q: np.ndarray) -> np.ndarray:
    """Weights of other integers on the same grid, under the same mask."""
    grid, kept = _grid(encoding)
    other = replace(grid, q=q)
    return (other if kept is None else Sparse(kept, other)).decode()


def _task(
    walk: _Walk, node: Node, lower: np.ndarray, upper: np.ndarray, generator: torch.Generator
) -> rounding.Task:  # fmt: skip
    operator = node.operator
    inputs, targets = _rows(walk, node, generator)
    weight: Tensor = operator.weight.detach()  # type: ignore[operator]
    own: Tensor | None = operator.bias  # type: ignore[assignment]
    matrix, groups = rows.to_matrix(weight, operator), rows.groups_of(operator)
    readers = walk.network.consumers(node.name)
    alone = len(readers) == 1 and node.name not in walk.network.outputs
    return rounding.Task(
        inputs,
        targets,
        matrix,
        rows.to_matrix(torch.from_numpy(lower), operator),
        rows.to_matrix(torch.from_numpy(upper), operator),
        torch.zeros(groups, 1, matrix.shape[1]) if own is None else own.detach().reshape(groups, 1, -1),
        bounds(readers[0].operator) if alone else None,
    )


def _rows(walk: _Walk, node: Node, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What chosen places of a layer's output look at behind the compressed layers, and what the float one gives."""
    operator, y = node.operator, walk.run(node, node.operator, walk.float)
    chosen = _places(operator, y, generator)
    x = walk.compressed[node.inputs[0]]
    inputs = torch.cat([rows.input_rows(a, operator, c) for a, c in zip(x, chosen, strict=True)], 1)
    targets = torch.cat([rows.output_rows(b, operator, c) for b, c in zip(y, chosen, strict=True)], 1)
    if not (torch.isfinite(inputs).all() and torch.isfinite(targets).all()):
        what = f"layer '{node.name}' reads or gives NaN or infinite values on the calibration samples."
        raise DataError(what, remedy="Check the preprocessing (scale, mean, std) and the model's weights.")
    return inputs, targets


def _places(operator: Operator, outputs: Batches, generator: torch.Generator) -> list[Tensor]:
    """Random places of each sample's output, (N, P) a batch: all samples alike, `ROWS` in all or what memory allows."""
    there = rows.places(outputs[0].shape, operator)
    samples = sum(len(batch) for batch in outputs)
    weight: Tensor = operator.weight  # type: ignore[assignment]
    width = weight[0].numel() * (rows.groups_of(operator) if weight.dim() > 2 else 1)
    most = min(ROWS, BYTES // (4 * width))
    wanted = min(there, max(1, most // samples))
    if wanted == there:
        return [torch.arange(there).expand(len(batch), -1) for batch in outputs]
    return [torch.stack([torch.randperm(there, generator=generator)[:wanted] for _ in batch]) for batch in outputs]

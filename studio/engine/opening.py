"""From files to a network and its engine: the one way, for a session and for a job in another process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import DataError
from studio.core.graph import Graph
from studio.core.opened import Opened

if TYPE_CHECKING:
    from studio.data import Dataset
    from studio.engine.engine import Engine
    from studio.network.network import Network

Preprocessing = Mapping[str, Any] | Path | str | None


def read_network(
    model: Any, factory: str | None = None, trust: bool = False, input_shape: tuple[int, ...] | None = None
) -> tuple[Network, Path | str]:
    """Return the network as read, and the name under which it is remembered.

    `model`: a file, or a `torch.nn.Module` (then `input_shape` with a batch of 1). `factory`:
    "package.module:function" that makes the module; it is run only with `trust`. Raises StudioError.
    """
    from studio import formats

    if isinstance(model, str | Path) and factory is None:
        return formats.read(Path(model)), model
    from studio.formats import _factory

    if factory is not None:
        path = None if model is None else Path(model).expanduser()
        made = _factory.from_factory(path, factory, trust=trust, input_shape=input_shape)
        return made, path or f"{factory.replace(':', '.')}.factory"
    import torch

    if not isinstance(model, torch.nn.Module):
        raise DataError(f"a {type(model).__name__} is no model.", where="open", remedy="Give a file or a torch module.")
    if input_shape is None:
        remedy = "Say input_shape=(1, channels, height, width)."
        raise DataError("a module in memory does not tell its input shape.", where="open", remedy=remedy)
    name = type(model).__name__
    return _factory.from_module(model, input_shape, name), name


def engine_of(
    original: Network,
    opened: Opened,
    *,
    preprocess: Preprocessing = None,
    defaults: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Engine:
    """Return the engine of a network as read, with the data that `opened` names.

    `preprocess`: keys or a file of the user's, for all data; `opened.prepared` wins over it. `defaults`:
    keys that hold where neither the user nor a data file says otherwise. `trust`: run data that is code.
    Raises DataError or FileError.
    """
    from studio.engine.engine import Engine
    from studio.network.cost import describe
    from studio.network.fold import fold

    network = fold(original)
    graph = describe(network)
    return Engine(network, graph, open_data(graph, network.input_shape, opened, preprocess, defaults, trust))


def engine_again(opened: Opened) -> Engine:
    """Return the engine of what was open in another process, on exactly the same samples."""
    from_code = opened.factory is not None
    # A factory without a file of weights is remembered under a name that is no file.
    model = None if from_code and not Path(opened.model).exists() else opened.model
    original, _ = read_network(model, opened.factory, from_code, opened.input_shape)
    return engine_of(original, opened, preprocess=opened.preprocess, trust=bool(opened.code))


def open_data(
    graph: Graph, input_shape: tuple[int, ...], opened: Opened, preprocess: Preprocessing = None,
    defaults: Mapping[str, Any] | None = None, trust: bool = False,
) -> dict[str, Dataset]:  # fmt: skip
    """Data sets by role; only the evaluation data is cut to `opened.samples`. Raises DataError or FileError."""
    import studio.data

    found: dict[str, Dataset] = {}
    sources = {"evaluation": opened.data, "calibration": opened.calibration, "train": opened.train}
    for role, source in sources.items():
        if source is not None:
            found[role] = studio.data.open(
                source, input_shape=input_shape, preprocess=(opened.prepared or {}).get(role, preprocess),
                label=opened.label, plan_preprocess=dict(defaults) if defaults else None,
                samples=opened.samples if role == "evaluation" else None, seed=opened.seed, trust=trust,
            )  # fmt: skip
    shape = graph.layer(graph.outputs[0]).output_shape
    for role in ("evaluation", "train"):
        if role in found:
            studio.data.check_labels(found[role], int(shape[1]) if len(shape) > 1 else 1)
    return found


def weights_identity(network: Network) -> str:
    """`sha256:...` over all weights of a network as read."""
    from studio.network.content import weights_key

    return "sha256:" + weights_key(network).removeprefix("sha256:")

"""Show the layers of a model with shapes, sizes, weights and importance."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from studio.cli import _common as common

if TYPE_CHECKING:
    from studio.session import Session

EXAMPLE = "edge-studio inspect model.onnx --data test.npz"
BINS = 101


def arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and optional data, for the criteria that look at activations."""
    common.model_arguments(parser)
    common.data_arguments(parser)
    common.calibration_arguments(parser)
    common.json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print a table, or the JSON object of INTERFACE."""
    with common.progress_on_stderr() as progress:
        session = common.open_session(args, args.model, progress)
    try:
        session.cancel()
        found = description(session)
    finally:
        session.close()
    if args.json:
        common.print_json(found)
    else:
        _print(found)
    return 0


def description(session: Session) -> dict[str, Any]:
    """Model, layers and groups as INTERFACE's `inspect` says."""
    graph = session.graph
    groups: dict[str, list[str]] = {}
    for layer in graph.weighted:
        groups.setdefault(str(layer.group), []).append(layer.name)
    return {
        "model": {
            "name": graph.name,
            "format": session.path.suffix.lstrip("."),
            "input_shape": session.network.input_shape,
            "output_shape": graph.layer(graph.outputs[0]).output_shape,
            "parameters": graph.parameters,
            "macs": graph.macs,
            "float32_bytes": 4 * graph.parameters,
            "peak_ram_bytes": graph.peak_ram_bytes,
        },
        "layers": [_layer(session, layer.name) for layer in graph.layers],
        "groups": [
            {"name": name, "layers": members, "channels": _channels(session, members[0])}
            for name, members in groups.items()
        ],
    }


def _layer(session: Session, name: str) -> dict[str, Any]:
    view = session.layer(name)
    layer = view.layer
    row: dict[str, Any] = {
        "name": layer.name,
        "source": layer.source,
        "kind": layer.kind,
        "group": layer.group,
        "weight_shape": layer.weight_shape,
        "parameters": layer.parameters,
        "macs": layer.macs,
        "activation_bytes": layer.activation_bytes,
        "weights": None,
        "importance": None,
    }
    if view.weight is not None:
        counts, edges = view.histogram(BINS)
        w = view.weight
        row["weights"] = {
            "mean": w.mean(), "std": w.std(), "min": w.min(), "max": w.max(), "sparsity": (w == 0).mean(),
            "histogram": {"counts": counts, "edges": edges},
        }  # fmt: skip
        row["importance"] = _importance(session, name)
    return row


def _importance(session: Session, name: str) -> dict[str, Any]:
    """Scores of every criterion that this layer takes with the data there is."""
    from studio.core import registry
    from studio.core.errors import StudioError

    found = {}
    for criterion in registry.names("criteria"):
        if "measurement" in registry.find("criteria", criterion).needs:
            continue  # minutes on a large network: the verb `sensitivity` gives it
        try:
            scores = session.layer(name).importance(criterion)
        except StudioError:
            continue
        found[criterion] = {"mean": scores.mean(), "min": scores.min(), "max": scores.max(), "channels": scores}
    return found


def _channels(session: Session, name: str) -> int:
    layer = session.graph.layer(name)
    assert layer.weight_shape is not None
    return layer.weight_shape[0] if layer.kind != "conv_transpose" else layer.weight_shape[1] * layer.groups


def _print(found: dict[str, Any]) -> None:
    model = found["model"]
    size = common.kib(model["float32_bytes"])
    title = (
        f"{model['name']}: {model['parameters']:,} parameters ({size} float32), "
        f"{common.count(model['macs'])} MACs, peak RAM {common.kib(model['peak_ram_bytes'])} float32"
    )
    rows = []
    for layer in found["layers"]:
        shape = "x".join(map(str, layer["weight_shape"] or ()))
        sparsity = f"{100 * float(layer['weights']['sparsity']):.0f} %" if layer["weights"] else ""
        macs = common.count(layer["macs"])
        rows.append(
            (layer["name"], layer["kind"], shape, f"{layer['parameters']:,}", macs, sparsity, layer["group"] or "")
        )
    common.table(title, ("layer", "kind", "weights", "parameters", "MACs", "zeros", "group"), rows, right=(3, 4, 5))

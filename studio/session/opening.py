"""Opening a model with its data: the one way in for app, command line and notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import Cancelled, DataError
from studio.core.graph import Graph
from studio.core.plan import Calibration, Plan
from studio.session import autosave
from studio.session.events import Notice

if TYPE_CHECKING:
    from studio.data import Dataset
    from studio.network.network import Network
    from studio.session.session import Session

Progress = Callable[[str, int, int], None]


def open_session(
    model: Any,
    data: Path | str | None = None,
    *,
    preprocess: Mapping[str, Any] | Path | str | None = None,
    label: str | None = None,
    plan: Plan | Path | str | None = None,
    calibration: Path | str | None = None,
    train: Path | str | None = None,
    samples: int | None = None,
    seed: int = 0,
    expected: float | None = None,
    factory: str | None = None,
    trust: bool = False,
    input_shape: tuple[int, ...] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Session:
    """Open a model file, with evaluation, calibration and training data where given.

    `model`: a file, or a `torch.nn.Module` (then `input_shape` with a batch of 1). `factory`:
    "package.module:function" that makes the module whose weights the file holds; it is run only with
    `trust`. `expected`: accuracy that the float model is known to have, 0..1; a value far below it is said first.
    Raises StudioError that names file, place and remedy; Cancelled when `stop()` says so.
    """
    say = _reporter(progress, stop)
    plan = plan if isinstance(plan, Plan) else Plan.load(plan) if plan else Plan()
    say("Loading the engine", 0)
    from studio.engine.engine import Engine
    from studio.engine.resolve import canonical, check_model
    from studio.network.cost import describe
    from studio.network.fold import fold
    from studio.session.session import Session

    say("Reading the network", 1)
    original, model = _read(model, factory, trust, input_shape)
    network = fold(original)
    graph = describe(network)
    say("Opening the data", 2)
    sources = open_data(
        graph, network.input_shape, data, calibration, train, preprocess=preprocess, plan=plan, label=label,
        samples=samples, seed=seed,
    )  # fmt: skip
    if calibration is not None and plan.calibration == Calibration():
        plan = replace(plan, calibration=replace(plan.calibration, source="calibration"))
    warning = check_model(plan, graph, weights_identity(original))
    plan = canonical(plan, graph)
    engine = Engine(network, graph, sources)
    engine.resolve(plan)
    say("Starting the preview", 3)
    stored = sources["evaluation"].preprocess.to_json() if "evaluation" in sources else None
    opened = autosave.Opened(
        _absolute(model),
        _absolute(data),
        stored,
        label,
        _absolute(calibration),
        _absolute(train),
        samples,
        seed,
        expected,
    )
    session = Session(opened, original, engine, plan)
    if warning:
        session.opening_notices.append(Notice("warning", warning))
    return session


def open_data(
    graph: Graph,
    input_shape: tuple[int, ...],
    data: Path | str | None,
    calibration: Path | str | None,
    train: Path | str | None,
    *,
    preprocess: Mapping[str, Any] | Path | str | None = None,
    plan: Plan | None = None,
    label: str | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> dict[str, Dataset]:
    """Data sets by role; only the evaluation data is cut to `samples`. Raises DataError."""
    import studio.data

    found: dict[str, Dataset] = {}
    for role, source in (("evaluation", data), ("calibration", calibration), ("train", train)):
        if source is not None:
            found[role] = studio.data.open(
                source, input_shape=input_shape, preprocess=preprocess, label=label,
                plan_preprocess=dict(plan.preprocess) if plan and plan.preprocess else None,
                samples=samples if role == "evaluation" else None, seed=seed,
            )  # fmt: skip
    classes = graph.layer(graph.outputs[0]).output_shape
    if "evaluation" in found and found["evaluation"].labels is not None:
        studio.data.check_labels(found["evaluation"], int(classes[1]) if len(classes) > 1 else 1)
    return found


def weights_identity(network: Any) -> str:
    """`sha256:...` over all weights of a network as read."""
    from studio.network.content import weights_key

    return "sha256:" + weights_key(network).removeprefix("sha256:")


def identity(session: Session) -> dict[str, Any]:
    """Return what a plan file says of its model: name, fingerprint, layers in words, weights."""
    from studio.engine.resolve import signature

    return {
        "name": session.path.name,
        "fingerprint": session.graph.fingerprint,
        "weights": weights_identity(session.original),
        "layers": signature(session.graph),
    }


def _read(
    model: Any, factory: str | None, trust: bool, input_shape: tuple[int, ...] | None
) -> tuple[Network, Path | str]:
    """Network, and the name under which it is remembered."""
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


def _reporter(progress: Progress | None, stop: Callable[[], bool] | None) -> Callable[[str, int], None]:
    def say(title: str, done: int) -> None:
        if stop and stop():
            raise Cancelled
        if progress:
            progress(title, done, 4)

    return say


def _absolute(path: Path | str | None) -> Any:
    return None if path is None else str(Path(path).expanduser().resolve())

"""Opening a model with its data: the one way in for app, command line and notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core import states
from studio.core.code import names_code
from studio.core.errors import Cancelled
from studio.core.opened import Opened
from studio.core.plan import Calibration, Plan
from studio.session.events import Notice

if TYPE_CHECKING:
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
    prepared: dict[str, dict[str, Any]] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Session:
    """Open a model file, with evaluation, calibration and training data where given.

    `model`: a file, or a `torch.nn.Module` (then `input_shape` with a batch of 1). `factory`:
    "package.module:function" that makes the module whose weights the file holds; such names may stand for
    data too, and are run only with `trust`. `expected`: accuracy that the float model is known to have, 0..1; a value
    far below it is said first.
    `prepared`: preprocessing by role as an earlier session found it; wins over `preprocess`.
    Raises StudioError that names file, place and remedy; Cancelled when `stop()` says so.
    """
    say = _reporter(progress, stop)
    plan = plan if isinstance(plan, Plan) else Plan.load(plan) if plan else Plan()
    say("Loading the engine", 0)
    from studio.engine.opening import engine_of, read_network, weights_identity
    from studio.engine.resolve import canonical, check_model
    from studio.session.session import Session

    say("Reading the network", 1)
    original, model = read_network(model, factory, trust, input_shape)
    say("Opening the data", 2)
    files = (_absolute(data), None, label, _absolute(calibration), _absolute(train))
    opened = Opened(_absolute(model), *files, samples, seed, expected, factory, input_shape, prepared)
    engine = engine_of(original, opened, preprocess=preprocess, defaults=plan.preprocess, trust=trust)
    if calibration is not None and plan.calibration == Calibration():
        plan = replace(plan, calibration=replace(plan.calibration, source="calibration"))
    warning = check_model(plan, engine.graph, weights_identity(original))
    plan = canonical(plan, engine.graph)
    engine.resolve(plan)
    if plan.state is not None:
        engine.add_state(states.load(plan.state))
    say("Starting the preview", 3)
    prepared = {role: dataset.preprocess.to_json() for role, dataset in engine.sources.items()}
    opened = replace(opened, preprocess=prepared.get("evaluation"), prepared=prepared)
    session = Session(opened, original, engine, plan)
    if warning:
        session.opening_notices.append(Notice("warning", warning))
    return session


def identity(session: Session) -> dict[str, Any]:
    """Return what a plan file says of its model: name, fingerprint, layers in words, weights."""
    from studio.engine.opening import weights_identity
    from studio.engine.resolve import signature

    return {
        "name": session.path.name,
        "fingerprint": session.graph.fingerprint,
        "weights": weights_identity(session.original),
        "layers": signature(session.graph),
    }


def _reporter(progress: Progress | None, stop: Callable[[], bool] | None) -> Callable[[str, int], None]:
    def say(title: str, done: int) -> None:
        if stop and stop():
            raise Cancelled
        if progress:
            progress(title, done, 4)

    return say


def _absolute(path: Path | str | None) -> Any:
    """Path that holds in every folder; a name of code as it is."""
    return path if path is None or names_code(path) else str(Path(path).expanduser().resolve())

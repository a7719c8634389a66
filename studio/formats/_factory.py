"""Networks made by the user's own code: run only when the user has named it and said that it is trusted.

A module becomes a Network by way of the one ONNX reader; weights are loaded without unpickling code.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core import code
from studio.core.errors import FileError, ModelError

if TYPE_CHECKING:
    import torch

    from studio.network.network import Network

WEIGHTS = (".pt", ".pth", ".th", ".tar", ".safetensors")


def from_factory(path: Path | None, factory: str, *, trust: bool, input_shape: tuple[int, ...] | None) -> Network:
    """Network from `package.module:function`, with the state dict at `path` where one is given.

    The function takes nothing and returns a `torch.nn.Module`, or the module and its input shape.
    Raises PlanError without `trust`, ModelError where code or weights do not fit.
    """
    made = code.call(factory, "factory", trust=trust, error=ModelError)
    module, shape = made if isinstance(made, tuple) and len(made) == 2 else (made, input_shape)
    _check_module(module, factory)
    if shape is None:
        remedy = "Let the function return (module, input_shape), as in (net, (1, 3, 32, 32))."
        raise ModelError("the input shape is not known.", where=factory, remedy=remedy)
    if path is not None:
        load_weights(module, path)
    return from_module(module, tuple(shape), path.name if path else factory)


def from_module(module: torch.nn.Module, input_shape: tuple[int, ...], name: str) -> Network:
    """Network from a torch module that is in memory already; `input_shape` with a batch of 1."""
    import torch

    from studio.formats._onnx.build import build
    from studio.formats._onnx.load import load

    module = module.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        axes = {"input": {0: "N"}}
        try:
            with warnings.catch_warnings():
                # The older exporter needs no further package and keeps batch norm; torch calls it deprecated.
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module, (torch.zeros(input_shape),), path, input_names=["input"], dynamic_axes=axes,
                    opset_version=17, dynamo=False, do_constant_folding=False,
                    training=torch.onnx.TrainingMode.PRESERVE,
                )  # fmt: skip
        except Exception as error:
            what = f"torch cannot export the module ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})."
            raise ModelError(what, where=name, remedy="Simplify its forward, or export it to ONNX yourself.") from None
        return build(load(path), path)


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a state dict (safetensors, or a torch file without code in it) into a module; names must fit."""
    state = read_state(path)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        what = f"the weights do not fit the module: {(str(error).splitlines() or [''])[-1].strip()}"
        raise ModelError(what.rstrip(".") + ".", where=str(path), remedy="Give the factory of this network.") from None


def read_state(path: Path) -> dict[str, Any]:
    """State dict of a file; wrapped ones (`state_dict`, `model`) and the prefix `module.` are taken off."""
    import torch

    from studio.formats import check

    check(path)
    if path.suffix not in WEIGHTS:
        remedy = f"Give a state dict ({', '.join(WEIGHTS)})."
        raise FileError("holds no weights for a factory.", where=str(path), remedy=remedy)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a stranger's pickle, which is refused anyway
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        remedy = "Save it again with torch.save(model.state_dict(), path)."
        raise FileError("is no plain state dict; nothing in it was run.", where=str(path), remedy=remedy) from None
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise FileError("is no state dict.", where=str(path), remedy="Save model.state_dict().")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _check_module(module: Any, factory: str) -> None:
    import torch

    if not isinstance(module, torch.nn.Module):
        what = f"the factory returned {type(module).__name__}, not a torch.nn.Module."
        raise ModelError(what, where=factory, remedy="Let it return the module, or (module, input_shape).")

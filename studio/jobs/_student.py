"""The network of a plan in training, and the state that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.core.encoding import Dense, Encoding, Sparse
from studio.core.plan import Plan
from studio.core.state import State, steps_key
from studio.core.technique import Stage
from studio.engine.engine import Engine
from studio.engine.variant import rewrites_key
from studio.jobs._formats import Formats
from studio.jobs._forms import BookForm, Form, form_of
from studio.jobs._goal import Goal
from studio.jobs._masks import Masks, until
from studio.jobs._norms import Norms
from studio.jobs._optimizers import Group
from studio.jobs._restore import restore
from studio.jobs._samples import Samples
from studio.jobs._settings import TrainingSettings
from studio.jobs._trainable import Trainable
from studio.jobs._units import units_of

BOOK_RATE = 0.1
"""Rate of shared values, which Adam trains, as a part of the weights' under SGD."""


class Student:
    """Trainable network of a plan: its rewrites applied, its masks held, and with `quantized` its grids,
    shared values and formats of activations in the forward pass.
    """  # noqa: D205

    def __init__(
        self, engine: Engine, plan: Plan, *, quantized: bool, activations: bool = True, reassign: bool = False,
        half: bool = False,
    ) -> None:  # fmt: skip
        self.engine, self.plan = engine, plan
        self.variant = engine.variant(plan)
        self.work = engine.work(plan)
        self.model = Trainable(engine.tuned(plan) if quantized else self.variant.network, half)
        self.masks = Masks(self.variant, self.work)
        self.forms: dict[str, Form] = self._forms(reassign) if quantized else {}
        self._begin()
        self.formats = self._formats() if quantized and activations and engine.needs_ranges(plan) else None
        self.norms: Norms | None = None
        self.units: dict[str, Tensor] = {}
        for name in self.work:
            if name in self.masks.tensors or name in self.forms:
                self.model.weights[name] = self._weight(name)

    def _forms(self, reassign: bool) -> dict[str, Form]:
        found = {name: form_of(one, reassign) for name, one in self.engine.encodings(self.plan).items()}
        return {name: form for name, form in found.items() if form is not None}

    def _begin(self) -> None:
        with torch.no_grad():
            for name, form in self.forms.items():
                latent = self.model.tensors[f"{name}.weight"]
                latent.copy_(form.begin(latent))

    def _formats(self) -> Formats:
        made = Formats(self.variant.network, self.engine.program(self.plan))
        made.attach(self.model)
        for name, form in self.forms.items():
            rounding = made.bias(name, form.steps)
            if rounding is not None:
                self.model.biases[name] = rounding
        return made

    def _weight(self, name: str) -> Callable[[Tensor], Tensor]:
        form, mask = self.forms.get(name), self.masks.tensors.get(name)

        def weight(latent: Tensor) -> Tensor:
            found = latent if mask is None else latent * mask
            found = found if form is None else form.weight(found)
            return found if form is None or mask is None else found * mask

        return weight

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes, by name."""
        found = {f"weight:{name}": tensor for name, tensor in self.model.tensors.items()}
        found |= {f"mask:{name}": tensor for name, tensor in self.masks.tensors.items()}
        for layer, form in self.forms.items():
            found |= {f"form:{layer}:{name}": tensor for name, tensor in form.tensors.items()}
        if self.formats is not None:
            found |= {f"format:{name}": tensor for name, tensor in self.formats.tensors.items()}
        if self.norms is not None:
            found |= {f"unit:{name}": tensor for name, tensor in self.units.items()}
            found |= {f"norm:{name}": tensor for name, tensor in self.norms.tensors.items()}
        return found

    @property
    def scales(self) -> list[Tensor]:
        """Trained step sizes, of weights and of activations."""
        own = [scale for form in self.forms.values() for scale in form.scales]
        return own + (self.formats.scales if self.formats is not None else [])

    def begin(self, samples: Samples, *, restored: bool, batch_norm: bool = False) -> None:
        """Make ready to train, by statistics of some samples.

        `restored`: those of outputs are first brought back to what they are without masks and grids.
        """
        if restored:
            restore(self.model, self.forms, self.variant.network, samples.some)
        self.units = units_of(self.model, samples.some)
        if batch_norm:
            self.norms = Norms(self.model, self.forms, samples)

    def measure(self, goal: Goal) -> float:
        """Metric on the validation samples, 0..1, as it is when batch norm is folded."""
        if self.norms is not None and self.norms.moved:
            self.norms.estimate()
        return goal.measure(self.model)

    def fold(self) -> None:
        """Put batch norm into the layers, for good."""
        if self.norms is not None:
            self.norms.fold(self.units)

    def groups(self, settings: TrainingSettings, scale_rate: float = 0.0) -> list[Group]:
        """What is trained at which rate, behind `begin`.

        Weights and biases have the settings' rate, shared values a part of it in their own size, by Adam.
        """
        rate, tensors, units = settings.learning_rate, self.model.tensors, self.units
        weights = [name for name in tensors if name.endswith(".weight")]
        others = [name for name in tensors if not name.endswith(".weight")]
        values = [value for form in self.forms.values() for value in form.values]
        sizes = [value.detach().square().mean().sqrt().clamp_min(1e-12) for value in values]
        scales = self.scales if scale_rate else []
        return [
            Group([tensors[n] for n in weights], [units[n] for n in weights], rate, decay=True),
            Group([tensors[n] for n in others], [units[n] for n in others], rate),
            Group(values, sizes, rate if settings.optimizer == "adam" else BOOK_RATE * rate, "adam"),
            Group(scales, [torch.ones(()) for _ in scales], scale_rate, "adam"),
            *([] if self.norms is None else [self.norms.group(rate)]),
        ]

    def limit(self) -> None:
        """After a step: pruned weights stay zero, scales and values stay where they can be stored."""
        self.masks.hold(self.model)
        for form in self.forms.values():
            form.limit()
        if self.formats is not None:
            self.formats.limit()
        if self.norms is not None:
            self.norms.limit()

    def settle(self, share: float) -> None:
        """Bring the weights of grids nearer to their levels, by this share of the distance."""
        for name, form in self.forms.items():
            form.settle(self.model.tensors[f"{name}.weight"], share)

    def assign(self) -> None:
        """Give weights that share values the nearest one."""
        for name, form in self.forms.items():
            if isinstance(form, BookForm):
                form.assign(self.model.tensors[f"{name}.weight"])

    # -- the result -------------------------------------------------------------------------------

    def state(self, about: Mapping[str, Any]) -> State:
        """What was decided, for the plan as it is."""
        resolved = self.engine.resolve(self.plan)
        return State(
            tensors={name: tensor.detach().numpy().copy() for name, tensor in self._stored().items()},
            kept=self.engine.kept(self.plan),
            encodings={name: own for name in self.work if (own := self._encodings(name))},
            ranges={} if self.formats is None else self.formats.ranges(),
            made_for={"rewrites": rewrites_key(resolved)},
            about=about,
        )

    def _stored(self) -> dict[str, Tensor]:
        """Float weights and biases; of layers that share values the shared ones."""
        found = dict(self.model.tensors)
        for name, form in self.forms.items():
            if isinstance(form, BookForm):
                with torch.no_grad():
                    found[f"{name}.weight"] = self.model.used(name)
        return found

    def _encodings(self, name: str) -> dict[str, bytes]:
        """Packed decisions on one layer by the key of the steps they stand for."""
        found: dict[str, bytes] = {}
        stored = self._stored()[f"{name}.weight"].detach().numpy()
        mask = self.masks.tensors.get(name)
        if mask is not None:
            found[steps_key(self.masks.steps(name))] = Sparse(mask.numpy() != 0, Dense(stored)).pack()
        work = until(self.work[name], Stage.GRID)
        if name in self.forms and work.steps and work.steps[-1].stage == Stage.GRID:
            found[steps_key(work.steps)] = self.encoding(name).pack()
        return found

    def encoding(self, name: str) -> Encoding:
        """Encoding of a layer as it is trained now."""
        latent = self.model.tensors[f"{name}.weight"].detach()
        mask = self.masks.tensors.get(name)
        latent = latent if mask is None else latent * mask
        form = self.forms.get(name)
        values: Encoding = Dense(latent.numpy().copy()) if form is None else form.encode(latent)
        return values if mask is None else Sparse(np.asarray(mask.numpy() != 0), values)

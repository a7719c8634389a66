"""What was measured of layers compressed alone, and its file: nothing is measured twice, whoever asks.

The file's name is a content key of the network, the samples and the calibration, so that the app, the command
line and a notebook find each other's rows, and rows of other data never mix with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.core import paths
from studio.core.errors import FileError
from studio.core.plan import Plan

if TYPE_CHECKING:
    from studio.engine.engine import Engine

VERSION = "1"
"""Part of every key: cases that change give other rows."""


@dataclass(frozen=True)
class SensitivityRow:
    """One measurement. `mode` "alone": only this layer is compressed, delta to the float model.

    `mode` "spared": all layers but this one are, delta to all of them: what leaving it in float wins
    back. `bytes`: flash of the whole plan.
    """

    layer: str
    case: str
    mode: Literal["alone", "spared"]
    technique: str
    settings: Mapping[str, Any]
    value: float
    delta: float
    interval: tuple[float, float] | None
    bytes: int

    @property
    def place(self) -> tuple[str, str, str]:
        """What was measured: there is one row for each."""
        return self.layer, self.case, self.mode


@dataclass(frozen=True)
class SensitivityTable:
    """All rows, with the float model's value on the same samples; `key`: what they were measured on."""

    metric: str
    base: float
    samples: int
    rows: tuple[SensitivityRow, ...]
    key: str = ""

    def find(self, layer: str, case: str, mode: str = "alone") -> SensitivityRow | None:
        """Row of a layer, or None where it was not measured."""
        return next((r for r in self.rows if r.place == (layer, case, mode)), None)

    def blame(self, case: str = "int8") -> list[SensitivityRow]:
        """Layers alone under one case, the most harmful first."""
        return sorted((r for r in self.rows if r.case == case and r.mode == "alone"), key=lambda r: r.delta)

    def to_json(self) -> dict[str, Any]:
        """Form of `edge-studio sensitivity --json` and of the project's file."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SensitivityTable:
        """Table from its JSON form."""
        rows = [{**r, "interval": r["interval"] and tuple(r["interval"])} for r in value["rows"]]
        found = tuple(SensitivityRow(**r) for r in rows)
        return cls(value["metric"], value["base"], value["samples"], found, value.get("key", ""))


def table_key(engine: Engine, chunks: int) -> str:
    """Content key of what a table is measured on; the engine needs evaluation data."""
    from studio.network.content import weights_key  # imports torch, which the start page does without

    assert engine.evaluator is not None
    wanted = Plan().calibration
    dataset, info = engine.calibration(wanted)
    facts = [VERSION, weights_key(engine.network), engine.evaluator.dataset.content_id, str(chunks),
             dataset.content_id, str(info.samples), str(wanted.seed)]  # fmt: skip
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def load(key: str) -> SensitivityTable | None:
    """Rows measured before under a key, by any process; None where there are none or the file is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, FileError):
        found = SensitivityTable.from_json(json.loads(_file(key).read_text()))
        return found if found.key == key else None
    return None


def keep(table: SensitivityTable) -> None:
    """Add rows to the file of their key; a folder that cannot be written to costs only the next session's time."""
    before = load(table.key)
    rows = merged(before.rows if before else (), table.rows)
    with suppress(FileError):
        paths.write_text(_file(table.key), json.dumps(replace(table, rows=rows).to_json()))


def merged(*parts: Iterable[SensitivityRow]) -> tuple[SensitivityRow, ...]:
    """Rows of all parts, the first of each place."""
    found: dict[tuple[str, str, str], SensitivityRow] = {}
    for rows in parts:
        for row in rows:
            found.setdefault(row.place, row)
    return tuple(found.values())


def _file(key: str) -> Path:
    return paths.user_folder("sensitivity") / f"{key[:32]}.json"

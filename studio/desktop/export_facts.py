"""What an export would store and run, told before anything is written; screen-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from studio.core import registry
from studio.core.result import Result

if TYPE_CHECKING:
    from studio.desktop.job import Report, Stop
    from studio.session import Session

Sign = Literal["ok", "warn", "bad", "info"]


@dataclass(frozen=True)
class Line:
    """One sentence with its sign."""

    sign: Sign
    text: str


@dataclass(frozen=True)
class LayerFact:
    """One layer in one format."""

    layer: str
    container: str
    bytes: int
    kernel: str
    note: str
    refused: bool = False


@dataclass(frozen=True)
class FormatFacts:
    """One format: expected size of the file (None where it is refused), sentences, rows per layer."""

    name: str
    title: str
    help: str
    file_name: str
    bytes: int | None
    lines: tuple[Line, ...]
    layers: tuple[LayerFact, ...]

    @property
    def refused(self) -> bool:
        """True where the format would need other numbers."""
        return self.bytes is None


def collect(session: Session, options: Mapping[str, Any], progress: Report, stop: Stop) -> list[FormatFacts]:
    """Facts of every format for the current plan; files are made in memory to know their size. Raises Cancelled."""
    from studio.core.errors import Cancelled

    found = []
    names = registry.names("export.targets")
    for i, name in enumerate(names):
        if stop():
            raise Cancelled
        progress("Looking at what each format stores", i, len(names))
        found.append(_facts(session, name, options))
    return found


def _facts(session: Session, name: str, options: Mapping[str, Any]) -> FormatFacts:
    from studio.engine.exporting import describe, plan_for, stored
    from studio.export.targets._base import Refusal
    from studio.session.opening import identity

    target = registry.find("export.targets", name)
    whole = replace(session.plan, export={**session.plan.export, **options})
    plan = plan_for(target, whole)
    rows = tuple(
        LayerFact(layer, "", 0, "", answer.reason, refused=True)
        if isinstance(answer, Refusal)
        else LayerFact(layer, answer.container, answer.bytes, answer.kernel, answer.note)
        for layer, answer in stored(session.engine, whole, name)
    )
    program = session.engine.program(plan)
    others = [target.can(op, program, plan.export) for op in program.operations]
    refusals = [answer.reason for answer in others if isinstance(answer, Refusal)]
    size = None
    if not refusals:
        size = len(target.write(program, describe(session.engine, plan, program, identity(session)), plan.export))
    risk = None if refusals else target.saturation_risk(program, plan.export)
    planned = session.engine.cost(whole).flash_bytes
    told = float_lines(rows, planned) if target.in_float else lines_of(rows, planned)
    lines = [Line("bad", reason) for reason in dict.fromkeys(refusals)] or told
    if risk:
        lines.append(Line("warn", risk))
    return FormatFacts(name, target.title, target.help, target.file_name, size, tuple(lines), rows)


def lines_of(rows: tuple[LayerFact, ...], planned: int) -> list[Line]:
    """Sentences on kernels and on what is stored wider. `planned`: bytes of the plan's packed weights."""
    found = [_kernels(rows)]
    containers = ", ".join(sorted({row.container for row in rows if row.container}))
    wider = [row for row in rows if row.note]
    extra = sum(row.bytes for row in rows) - planned
    if wider:
        size = f", {extra / 1024:,.1f} KiB more than the plan's own bytes" if extra > 0 else ""
        found.append(Line("warn", f"{_count(len(wider))} stored wider than planned ({_why(wider)}){size}"))
    else:
        found.append(Line("ok", f"weights as {containers}, the same integers as in the preview"))
    return found


def float_lines(rows: tuple[LayerFact, ...], planned: int) -> list[Line]:
    """Sentences on a format that is meant to be float. `planned`: bytes of the plan's packed weights."""
    extra = (sum(row.bytes for row in rows) - planned) / 1024
    size = f"; {extra:,.1f} KiB more than the plan's own bytes" if extra > 0 else ""
    return [Line("info", f"{_count(len(rows))} in float32, without the plan's grids{size}")]


def _kernels(rows: tuple[LayerFact, ...]) -> Line:
    slow = [row for row in rows if not row.kernel.startswith(("integer", "moves the integers"))]
    if not slow:
        kinds = Counter(row.kernel.removeprefix("integer kernel ") for row in rows)
        return Line("ok", f"{_count(len(rows))} in integer kernels: " + ", ".join(f"{n} {k}" for k, n in kinds.items()))
    names = ", ".join(row.layer for row in slow[:3]) + (" ..." if len(slow) > 3 else "")
    return Line("warn", f"{len(slow)} of {_count(len(rows))} in float kernels: {names}")


def _why(rows: list[LayerFact]) -> str:
    text = " ".join(row.note for row in rows)
    reasons = [
        name
        for name, sign in (("narrow weights in a wider type", "-bit weights"), ("zeros in full", "zeros"))
        if sign in text
    ]
    return ", ".join(reasons) or "see layers"


def _count(n: int) -> str:
    return f"{n} layer" if n == 1 else f"{n} layers"


def preview_text(session: Session) -> str:
    """What the preview promises for the current plan."""
    known = session.measured.get(session.plan.key)
    result: Result | None = known.result if known else None
    if result is None or result.value is None:
        return "preview: not measured yet"
    so_far = "" if result.complete else f" on {result.samples:,} of {result.total:,} so far"
    so_far += f" in a quick form ({result.quick}): the export waits for the full one" if result.quick else ""
    cost = result.cost
    size, macs = f"{cost.flash_bytes / 1024:,.0f} KiB", f"{cost.macs / 1e6:,.1f} M MACs"
    return f"preview: {100 * result.value:.2f} %{so_far} · {size} · {macs}"


def seconds_text(seconds: float) -> str:
    """Duration with a digit behind the point where it is short."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"

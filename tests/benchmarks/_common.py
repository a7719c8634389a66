"""What the benchmark scripts share: cases, arguments, and the page of results they write."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("STUDIO_SHARED", ROOT.parent / "shared")) / "data"
RESULTS = Path(__file__).with_name("RESULTS.md")


class Memory:
    """No checkpoints: a run that is stopped starts again."""

    def load(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def save(self, content: Any) -> None:
        del content


def arguments(description: str) -> argparse.ArgumentParser:
    """`--json`, `--quick` and `--write` (put the figures into RESULTS.md)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer cases and samples")
    parser.add_argument("--write", action="store_true", help="replace this script's section of RESULTS.md")
    return parser


def cases(*names: str) -> list[dict[str, Any]]:
    """Cases of CASES.json by name, in that order."""
    known = {case["name"]: case for case in json.loads((SHARED / "CASES.json").read_text())["cases"]}
    return [known[name] for name in names]


def network_of(model: Path) -> Any:
    """Network of a model file, batch norm folded, as the engine takes it."""
    from studio import formats
    from studio.network.fold import fold

    return fold(formats.read(model))


def training_engine(network: Any, case: dict[str, Any], samples: int | None) -> Any:
    """Engine on a network with a case's evaluation data, and with so many of its training samples; None = all."""
    from studio import data
    from studio.engine.engine import Engine
    from studio.network.cost import describe

    opened = {
        role: data.open(
            SHARED / case[key], input_shape=network.input_shape, preprocess=case["preprocess"], samples=count
        )
        for role, key, count in (("train", "train", samples), ("evaluation", "data", None))
    }
    return Engine(network, describe(network), opened)


def open_case(case: dict[str, Any], samples: int | None = None) -> Any:
    """Session on a case, calibrated as CASES.json says ("same file" = the evaluation data)."""
    from studio.session import open_session

    calibration = case["calibration"]
    return open_session(
        SHARED / case["model"],
        SHARED / case["data"],
        preprocess={k: v for k, v in case["preprocess"].items() if (k, v) != ("layout", "as stored")},
        label="person_vww" if "labels" in case else None,
        calibration=None if calibration == "same file" else SHARED / calibration,
        samples=samples,
    )


def say(text: str) -> None:
    """Progress on stderr."""
    sys.stderr.write(text + "\n")


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [columns, ["---"] * len(columns), *rows]]
    return "\n".join(lines) + "\n"


def finish(args: argparse.Namespace, title: str, found: dict[str, Any], text: str) -> None:
    """Print, and write the section of RESULTS.md where asked."""
    sys.stdout.write((json.dumps(found) if args.json else text) + "\n")
    if args.write:
        write_section(title, text)


def write_section(title: str, text: str) -> None:
    """Replace the section of this title; date, machine and command stand above the table."""
    today = datetime.date.today().isoformat()
    command = "python " + " ".join([str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]])
    machine = f"{platform.machine()}, {os.cpu_count()} shared cores, Python {platform.python_version()}"
    section = f"## {title}\n\n{today} · {machine} · `{command}`\n\n{text.strip()}\n"
    head = "# Results\n\nFigures of the last full benchmark runs, written by the scripts in this folder.\n"
    old = RESULTS.read_text() if RESULTS.exists() else head
    first, *sections = old.split("\n## ")
    kept = {s.split("\n", 1)[0]: "## " + s.strip() + "\n" for s in sections}
    kept[title] = section
    RESULTS.write_text(first.strip() + "\n\n" + "\n".join(kept[name] for name in kept))

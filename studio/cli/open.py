"""Open the desktop app, on the start page or straight on a model."""

from __future__ import annotations

import argparse

from studio.cli import _common as common

EXAMPLE = "edge-studio open model.onnx --data test.npz"


def arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, data and a plan, all optional."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="model file (.onnx)")
    common.code_arguments(parser)
    parser.add_argument("--plan", metavar="FILE", help="plan.json to start with")
    common.data_arguments(parser)
    common.calibration_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Start the app and return its exit code."""
    from studio.desktop import start

    common.find_code(args)
    return start(
        model=args.model, data=args.data, preprocess=args.preprocess, label=args.label, plan=args.plan,
        calibration=args.calibration, train=args.train_data, samples=args.samples, seed=args.seed,
        factory=args.factory, trust=args.trust,
    )  # fmt: skip

"""Half the multiplications without retraining: prune_channels beside Torch-Pruning, same networks, same pictures.

Torch-Pruning (pip install --no-deps --target DIR torch-pruning; --peer DIR) gets its importances, ranked
in each layer and over all, with and without the layers behind sums; its best on the evaluation pictures
stands beside ours, which is chosen without labels. It has no fit behind the cut; ours without one is a
row too. OBDC of 1.6.1 fails inside the peer (TypeError), and is said on stderr.
"""

from __future__ import annotations

import copy
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _common import arguments, cases, finish, open_case, say, table

TARGET = 0.5
STEPS = 8
"""Halvings of the interval in which the amount is sought that leaves the target."""


def ours(session: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Smallest amount that leaves at most the target, measured in float."""
    from studio.core.plan import Plan, Step

    engine = session.engine
    whole = engine.graph.macs

    def plan_of(amount: float, **others: Any) -> Plan:
        return Plan(defaults=(Step("prune_channels", **{"amount": round(amount, 3), **settings, **others}),))

    began = time.monotonic()
    # The fit changes no shape, so it waits for the amount.
    amount = smallest(lambda a: engine.variant(plan_of(a, reestimate=False)).graph.macs <= TARGET * whole)
    engine.variant(plan_of(amount))
    seconds = time.monotonic() - began
    result = engine.measure(plan_of(amount))
    named = ", ".join(f"{key} {value}" for key, value in settings.items()) or "as it comes"
    return row("studio", named, result.value, result.cost.macs / whole, seconds, round(amount, 3))


def smallest(enough: Callable[[float], bool]) -> float:
    """Smallest amount up to .95 for which `enough` holds, by bisection."""
    low, high = 0.0, 0.95
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def row(tool: str, what: str, value: float, macs: float, seconds: float, amount: float) -> dict[str, Any]:
    """One line of the table."""
    return {"tool": tool, "how": what, "value": value, "macs": macs, "seconds": seconds, "amount": amount}


def peers(session: Any, samples: Any) -> Iterator[dict[str, Any]]:
    """Every importance of Torch-Pruning at the same multiplications."""
    import torch_pruning as tp
    from _peer_module import PeerModule

    found = tp.importance
    importances = {
        "l1": lambda: found.GroupMagnitudeImportance(p=1), "l2": lambda: found.GroupMagnitudeImportance(p=2),
        "l2, gaussian": lambda: found.GroupMagnitudeImportance(p=2, normalizer="gaussian"),
        "lamp": found.LAMPImportance, "fpgm": found.FPGMImportance, "taylor": found.GroupTaylorImportance,
        "hessian": found.GroupHessianImportance, "obdc": lambda: found.OBDCImportance(num_classes=10),
    }  # fmt: skip
    module = PeerModule(session.engine.network).eval().requires_grad_(True)
    for name, over_all, inner in itertools.product(importances, (False, True), (False, True)):
        title = f"{name}, {'global' if over_all else 'each layer'}{', inside blocks' if inner else ''}"
        try:
            began = time.monotonic()
            cut, amount, left = peer_cut(tp, module, importances[name], over_all, inner, samples)
            seconds = time.monotonic() - began
        except Exception as error:  # the peer's own fault is a line of the table
            say(f"{title}: {type(error).__name__}: {error}")
            continue
        say(f"{title}: {seconds:.1f} s")
        yield row("Torch-Pruning", title, accuracy(cut, session.engine.evaluator), left, seconds, round(amount, 3))


def peer_cut(
    tp: Any, module: Any, importance: Callable[[], Any], over_all: bool, inner: bool, samples: Any
) -> tuple[Any, float, float]:
    """Module cut to the target, its amount, and the share of multiplications left."""
    whole = macs_of(module, samples[0])

    def cut(amount: float) -> Any:
        made = copy.deepcopy(module)
        score = importance()
        kept = [*made.outputs, *(behind_sums(made) if inner else ())]
        pruner = tp.pruner.BasePruner(
            made, samples[0][:1], importance=score, global_pruning=over_all, pruning_ratio=amount, ignored_layers=kept
        )
        prepare(tp, made, pruner, score, samples)
        pruner.step()
        return made.eval()

    amount = smallest(lambda a: macs_of(cut(a), samples[0]) <= TARGET * whole)
    found = cut(amount)
    return found, amount, macs_of(found, samples[0]) / whole


def prepare(tp: Any, module: Any, pruner: Any, score: Any, samples: Any) -> None:
    """Gradients on labelled training pictures for the importances that need them; one by one on a tenth of them."""
    import torch
    from torch.nn import functional

    x, labels = samples
    few = max(1, len(x) // 10)
    module.zero_grad()
    if isinstance(score, tp.importance.GroupHessianImportance):
        for loss in functional.cross_entropy(module(x[:few]), labels[:few], reduction="none"):
            module.zero_grad()
            loss.backward(retain_graph=True)
            score.accumulate_grad(module)
    elif isinstance(score, tp.importance.GroupTaylorImportance):
        functional.cross_entropy(module(x), labels).backward()
    elif isinstance(score, tp.importance.OBDCImportance):
        score._prepare_model(module, pruner)
        drawn = torch.multinomial(module(x).detach().softmax(1), 1).squeeze(1)
        functional.cross_entropy(module(x), drawn).backward()
        score.step()
        score._rm_hooks(module)


def behind_sums(module: Any) -> list[Any]:
    """Layers whose channels are added to others'."""
    added = {name for node in module.nodes if node.kind == "add" for name in node.inputs}
    by_name = {node.name: node for node in module.nodes}
    while any(by_name[n].kind not in ("conv", "pad") for n in added):
        added = {m for n in added for m in ([n] if by_name[n].kind in ("conv", "pad") else by_name[n].inputs)}
        added = {n for n in added if by_name[n].kind != "input"}
    return [module.layers[name.replace(".", "__")] for name in added]


def macs_of(module: Any, x: Any) -> float:
    """Multiplications of convolutions and linear layers for one sample; copying ones count for nothing."""
    import torch
    from torch import nn

    total = 0

    def count(layer: Any, _: Any, y: Any) -> None:
        nonlocal total
        places = y[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        total += layer.weight.numel() * places

    copies = {id(module.layers[n.name.replace(".", "__")]) for n in module.nodes if n.kind == "pad"}
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear) and id(m) not in copies]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(x[:1])
    for hook in hooks:
        hook.remove()
    return total


def accuracy(module: Any, evaluator: Any) -> float:
    """Top-1 on the evaluation pictures."""
    import torch

    dataset, order = evaluator.dataset, evaluator.order
    right = 0
    with torch.no_grad():
        for start in range(0, len(order), 50):
            at = order[start : start + 50]
            right += int((module(torch.from_numpy(dataset.batch(at))).argmax(1).numpy() == dataset.labels[at]).sum())
    return right / len(order)


def measure(case: dict[str, Any], samples: int | None) -> list[dict[str, Any]]:
    """Rows of one case, ours first, the peer's best first among its own."""
    import torch

    session = open_case(case, samples)
    session.cancel()
    engine = session.engine
    rows = [row("", "not cut", engine.measure(session.plan.__class__()).value, 1.0, 0.0, 0.0)]
    for settings in ({}, {"scope": "layer"}, {"criterion": "l2"}, {"reestimate": False}):
        rows.append(ours(session, settings))
        say(str(rows[-1]))
    training, _ = engine.calibration(session.plan.calibration)
    at = training.order(0)[: 300 if samples is None else 50]
    pictures = torch.from_numpy(training.batch(at)), torch.from_numpy(training.labels[at]).long()
    found = sorted(peers(session, pictures), key=lambda r: -r["value"])
    session.close()
    return [{"case": case["name"], **r} for r in [*rows, *found]]


def main() -> int:
    """Run both cases; exit 1 where the peer is better than ours as it comes."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--peer", type=Path, default=Path("/tmp/tp"), help="folder with torch_pruning")
    args = parser.parse_args()
    sys.path.append(str(args.peer))
    rows = []
    for case in cases("cifar10_resnet20", "ic_resnet8"):
        say(case["name"])
        rows += measure(case, 1000 if args.quick else None)
    shown, kept = [], True
    for name in dict.fromkeys(r["case"] for r in rows):
        own = [r for r in rows if r["case"] == name and r["tool"] != "Torch-Pruning"]
        theirs = [r for r in rows if r["case"] == name and r["tool"] == "Torch-Pruning"]
        kept = kept and bool(theirs) and own[1]["value"] >= theirs[0]["value"]
        shown += [*own, *theirs[:3]]
    lines = [
        [
            r["case"],
            r["tool"],
            r["how"],
            f"{r['value']:.4f}",
            f"{r['macs']:.3f}",
            f"{r['amount']:g}",
            f"{r['seconds']:.1f}",
        ]
        for r in shown
    ]
    columns = ["case", "tool", "how", "top-1", "multiplications left", "amount", "s"]
    finish(args, "Half the multiplications, no retraining", {"rows": rows, "kept": kept}, table(columns, lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

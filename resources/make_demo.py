"""Make the bundled demo: frames of parts on a belt, a small residual network trained on crops of them.

    python resources/make_demo.py

Seeded, one thread, a few minutes. Writes into `resources/demo`: `parts.onnx` (batch normalisation kept,
batch free), `crops_test.npz`, `crops_calibration.npz` (JPEG blobs) and the folder `frames`
(JPEG files with `annotations.json`).
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import demo_scene as scene
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

FOLDER = Path(__file__).resolve().parent / "demo"
CROP = 32
WIDTHS = (12, 24, 48)
SCALE, MEAN, STD = 1 / 255, (0.36, 0.36, 0.36), (0.17, 0.17, 0.17)
PREPROCESS = {"layout": "NCHW", "channels": "RGB", "scale": SCALE, "mean": MEAN, "std": STD}
TRAIN, TEST, CALIBRATION, FRAMES = 3300, 900, 240, 140
EPOCHS, BATCH, RATE = 24, 64, 4e-3


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class Parts(nn.Module):
    """Residual network of three stages; no softmax, any picture size of at least 4x4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = nn.Sequential(Block(WIDTHS[0], WIDTHS[0], 1))
        self.layer2 = nn.Sequential(Block(WIDTHS[0], WIDTHS[1], 2))
        self.layer3 = nn.Sequential(Block(WIDTHS[1], WIDTHS[2], 2))
        self.fc = nn.Linear(WIDTHS[2], len(scene.KINDS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) -> logits (n, 6)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def crop(frame: scene.Frame, rng: np.random.Generator) -> np.ndarray:
    """32x32 pixels around the part, off by up to 4 pixels as a selector may be."""
    centre = np.array([frame.box[1] + frame.box[3], frame.box[0] + frame.box[2]]) / 2
    corner = np.round(centre - CROP / 2 + rng.uniform(-4, 4, 2)).astype(int)
    y, x = np.clip(corner, 0, scene.SIZE - CROP)
    return frame.pixels[y : y + CROP, x : x + CROP]


def crops(seed: int, count: int) -> tuple[list[bytes], np.ndarray]:
    """JPEG files of 32x32 crops, and kinds (count,); every kind equally often, mixed."""
    kinds = np.random.default_rng(seed).permutation(np.arange(count) % len(scene.KINDS))
    files = []
    for i, kind in enumerate(kinds):
        rng = np.random.default_rng([seed, i])
        files.append(scene.jpeg(crop(scene.draw(rng, int(kind)), rng)))
    return files, kinds.astype(np.int64)


def prepare(files: list[bytes]) -> torch.Tensor:
    """JPEG files -> what the network reads, float32 (n, 3, h, w)."""
    pictures = np.stack([scene.jpeg_pixels(f) for f in files])
    x = (pictures.astype(np.float32) * SCALE - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def augment(x: torch.Tensor) -> torch.Tensor:
    """Mirror each picture, and shift the batch by up to 2 pixels."""
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    dy, dx = torch.randint(-2, 3, (2,)).tolist()
    return torch.roll(x, (dy, dx), (2, 3))


def train(x: torch.Tensor, y: torch.Tensor) -> Parts:
    """AdamW, one cycle, label smoothing 0.05."""
    network = Parts()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    steps = (len(x) + BATCH - 1) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, EPOCHS * steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(x)).split(BATCH):
            loss = loss_of(network(augment(x[chosen])), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch + 1:2d}: loss {total / len(x):.4f}", flush=True)
    return network.eval()


def to_onnx(network: Parts) -> bytes:
    """Plain ONNX, opset 13: Conv, BatchNormalization, Relu, Add, GlobalAveragePool, Flatten, Gemm.

    Class names and preprocessing travel with it as metadata.
    """
    nodes: list[onnx.NodeProto] = []
    state = {k: v.numpy() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}

    def add(kind: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def convolve(conv: str, bn: str, x: str) -> str:
        module = network.get_submodule(conv)
        assert isinstance(module, nn.Conv2d)
        edge, stride = module.padding[0], list(module.stride)
        x = add(
            "Conv", conv, x, f"{conv}.weight", kernel_shape=list(module.kernel_size), strides=stride, pads=[edge] * 4
        )
        parts = (f"{bn}.{k}" for k in ("weight", "bias", "running_mean", "running_var"))
        return add("BatchNormalization", bn, x, *parts, epsilon=network.get_submodule(bn).eps)

    x = add("Relu", "relu1", convolve("conv1", "bn1", "input"))
    for block in ("layer1.0", "layer2.0", "layer3.0"):
        y = add("Relu", f"{block}.relu1", convolve(f"{block}.conv1", f"{block}.bn1", x))
        y = convolve(f"{block}.conv2", f"{block}.bn2", y)
        plain = isinstance(network.get_submodule(f"{block}.shortcut"), nn.Identity)
        short = x if plain else convolve(f"{block}.shortcut.0", f"{block}.shortcut.1", x)
        x = add("Relu", f"{block}.relu2", add("Add", f"{block}.add", y, short))
    x = add("Flatten", "flatten", add("GlobalAveragePool", "pool", x), axis=1)
    nodes.append(helper.make_node("Gemm", [x, "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "parts",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, CROP, CROP])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(scene.KINDS)])],
        [numpy_helper.from_array(v, k) for k, v in state.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="make_demo")
    model.ir_version = 8
    carried = {"classes": json.dumps(scene.KINDS), "preprocess": json.dumps(PREPROCESS)}
    helper.set_model_props(model, carried)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def write_crops(path: Path, files: list[bytes], kinds: np.ndarray) -> None:
    """Write pictures as one byte array with labels, class names and preprocessing."""
    offsets = np.cumsum([0, *map(len, files)]).astype(np.int64)
    blob = np.frombuffer(b"".join(files), np.uint8)
    np.savez_compressed(
        path, blob=blob, offsets=offsets, y=kinds, classes=np.array(scene.KINDS),
        scale=np.float32(SCALE), mean=np.float32(MEAN), std=np.float32(STD),
    )  # fmt: skip


def write_frames(folder: Path, seed: int) -> None:
    """Frames as JPEG files with `annotations.json`; every seventh belt is empty."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    kinds = np.random.default_rng(seed).permutation(np.arange(FRAMES) % 7)
    rows = []
    for i, kind in enumerate(kinds):
        part = scene.EMPTY if kind == 6 else int(kind)
        frame = scene.draw(np.random.default_rng([seed, i]), part)
        name = f"images/frame_{i:03d}.jpg"
        (folder / name).write_bytes(scene.jpeg(frame.pixels))
        boxes = [] if part == scene.EMPTY else [{"xyxy": list(frame.box), "label": scene.KINDS[part]}]
        rows.append({"file": name, "width": scene.SIZE, "height": scene.SIZE, "boxes": boxes})
    text = ",\n ".join(json.dumps(row) for row in rows)
    (folder / "annotations.json").write_text(f"[{text}]\n")


def main() -> None:
    """Draw, train, measure, write."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    begin = time.monotonic()
    files, kinds = crops(1, TRAIN)
    test_files, test_kinds = crops(2, TEST)
    print(f"{len(files)} + {len(test_files)} crops drawn, {time.monotonic() - begin:.0f} s", flush=True)
    network = train(prepare(files), torch.from_numpy(kinds))
    with torch.no_grad():
        answers = network(prepare(test_files)).argmax(1).numpy()
    top1 = float((answers == test_kinds).mean())
    print(f"test top-1 {top1:.4f} on {TEST} crops, {sum(p.numel() for p in network.parameters())} parameters")
    for kind, name in enumerate(scene.KINDS):
        print(f"  {name:8s} {np.bincount(answers[test_kinds == kind], minlength=len(scene.KINDS))}")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "parts.onnx").write_bytes(to_onnx(network))
    write_crops(FOLDER / "crops_test.npz", test_files, test_kinds)
    write_crops(FOLDER / "crops_calibration.npz", files[:CALIBRATION], kinds[:CALIBRATION])
    write_frames(FOLDER / "frames", 3)
    size = sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file())
    print(f"{FOLDER}: {size} bytes, {time.monotonic() - begin:.0f} s")
    assert 0.93 <= top1 <= 0.98, "the demo must leave room to lose and to keep accuracy"


if __name__ == "__main__":
    main()

"""`model.ecs`: what is written comes back and computes the same; any damage is an error in words."""

import copy
import json
import zlib

import numpy as np
import pytest
import torch

from studio import formats, runtimes
from studio.core.encoding import Codebook, Coded, Dense, Grid, Sparse
from studio.core.errors import FileError
from studio.core.packing import pack_count
from studio.core.registry import find
from studio.export._packed.write import stored
from studio.export.targets._base import Refusal
from studio.lowering import execute, lower
from studio.network import operators as op
from studio.network import operators_plain as plain
from studio.network.fold import fold
from studio.network.network import Network, Node
from studio.runtimes._packed.layout import bias_width, pack_bias, read_bias, unwrap, wrap
from studio.runtimes._packed.program import read

TARGET = find("export.targets", "packed")
DESCRIPTION = {"preprocess": {"scale": 0.5, "mean": [1.0]}, "classes": ["a", "b"], "input": {"shape": [1, 3, 8, 8]}}


def network():
    """Convolutions, a shortcut, pools, activations, constants, a transposed convolution, a float layer, linear."""
    made = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.randn(shape, generator=made) / 3

    def conv(out, into, groups=1):
        return op.Conv(rand(out, into // groups, 3, 3), rand(out), (1, 1), (1,) * 4, (1, 1), groups)

    steps = {
        "conv": (conv(8, 3), "x"), "relu6": (plain.Clip(0.0, 6.0), "conv"), "deep": (conv(8, 8, 8), "relu6"),
        "sum": (plain.Add(), "deep", "relu6"), "relu": (plain.Relu(), "sum"),
        "pool": (plain.AveragePool((2, 2), (2, 2), (0, 0, 0, 0), True), "relu"),
        "up": (op.ConvTranspose(rand(8, 4, 2, 2), rand(8), (2, 2), (0, 0, 0, 0), (0, 0), (1, 1), 2), "pool"),
        "slope": (plain.Prelu(rand(8, 1, 1)), "up"), "leaky": (plain.LeakyRelu(0.1), "slope"),
        "taken": (plain.Gather(torch.tensor([5, 1, 1]), 1), "leaky"),
        "both": (plain.Concat(1), "taken", "relu"), "low": (plain.Clip(-1.0, float("inf")), "both"),
        "big": (plain.Resize((4, 4), "linear", "half_pixel", "floor", (0.5, 0.5)), "low"),
        "mean": (plain.ReduceMean((2, 3), False), "big"), "fc": (op.Linear(rand(5, 11), rand(5)), "mean"),
        "prob": (plain.Softmax(1), "fc"),
    }  # fmt: skip
    nodes = [Node("x", "x", (), op.Input((1, 3, 8, 8)))]
    nodes += [Node(name, name, inputs, operator) for name, (operator, *inputs) in steps.items()]
    return Network("all kinds", nodes, ["prob", "taken"])


def weight(net, name):
    return net.by_name[name].operator.weight.detach().numpy()


def shared_values(w, bits, zero):
    centroids = np.linspace(-100, 100, 2**bits).astype(np.int8)
    centroids[0] = 0 if zero else centroids[0]
    indices = np.random.default_rng(0).integers(0, 2**bits, w.shape).astype(np.uint8)
    return Codebook(indices, centroids[None], np.array([0.01], np.float32), bits)


def program(net=None, changed=None):
    net = net or network()
    conv, fc = weight(net, "conv"), weight(net, "fc")
    mask = np.random.default_rng(1).random(fc.shape) < 0.5
    encodings = {
        "conv": Grid(np.rint(conv * 40).astype(np.int8), np.full(8, 0.025, np.float32), 0, 8),
        "deep": Coded(shared_values(weight(net, "deep"), 3, False)),
        "up": Coded(Sparse(weight(net, "up") > 0, Dense(weight(net, "up")))),
        "fc": Coded(Sparse(mask, shared_values(fc, 2, True))), **(changed or {}),
    }  # fmt: skip
    x = torch.randn((20, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    ranges = {}
    net.run([x], visit=lambda node, y: ranges.__setitem__(node.name, (float(y.min()), float(y.max()))))
    return lower(net, encodings, ranges, {}), x


def padded(x):
    return torch.cat([x, x[-1:].expand(50 - len(x), *x.shape[1:])])


def test_what_is_written_comes_back_and_computes_the_same_bits(tmp_path):
    made, x = program()
    assert {op.kind for op in made.operations} >= {"conv", "add", "prelu", "gather", "softmax", "conv_transpose"}
    assert made.float_layers == ("up",)
    path = tmp_path / "model.ecs"
    path.write_bytes(TARGET.write(made, DESCRIPTION, {}))
    assert TARGET.differences(path.read_bytes(), made, {}) == []
    names = [info.name for info in made.tensors.values() if info.format is not None]
    expected = execute.run_program(made, padded(x), "packed", keep=names)
    with runtimes.open(path) as runner:
        assert runner.name == "packed"
        assert runner.preprocess == DESCRIPTION["preprocess"]
        assert runner.input_shape == (1, 3, 8, 8)
        for y, name in zip(runner.run(x.numpy()), made.outputs, strict=True):
            assert y.tobytes() == expected[name][:20].numpy().tobytes()
        found = runner.tensors(x.numpy(), names)
        assert set(found) == set(names)
        # Three layers in int8: 216 + 72 + 55 weights; the transposed convolution's 128 in float32.
        assert runner.signature()["decoding"]["weight_bytes"] == 216 + 72 + 55 + 4 * 128
        assert runner.signature()["outputs"][0]["shape"] == [None, 5]
        assert all((found[name] == expected[name][:20].numpy()).all() for name in names)


@pytest.mark.parametrize("name", ["mlperftiny_ic_resnet8", "vww96_tinymaix", "squeezenet_imagenet_fp16"])
def test_real_networks_come_back(name, shared, tmp_path):
    net = fold(formats.read(shared / "data" / "models" / f"{name}.onnx"))
    x = torch.rand(2, *net.input_shape[1:], generator=torch.Generator().manual_seed(0))
    ranges = {}
    net.run([x], visit=lambda node, y: ranges.__setitem__(node.name, (float(y.min()), float(y.max()))))
    encodings = {
        n.name: Coded(shared_values(n.operator.weight.detach().numpy(), 4, True))
        for n in net.nodes if n.kind in ("conv", "linear")
    }  # fmt: skip
    made = lower(net, encodings, ranges, {})
    content = TARGET.write(made, {}, {})
    assert TARGET.differences(content, made, {}) == []
    weights = sum(len(e.pack()) for e in encodings.values())
    biases = sum(op.weights.bias.nbytes for op in made.operations if op.weights is not None)
    assert len(content) < weights + biases + 60 * len(made.operations)


def test_the_file_is_little_more_than_its_weights():
    made, _ = program()
    weights = [stored(op) for op in made.operations]
    tensors = sum(len(w.encoding.pack()) + len(w.bias) for w in weights if w is not None)
    assert len(TARGET.write(made, {}, {})) < tensors + 900  # 22 operations of 18 kinds


def test_what_can_said_is_what_is_written():
    made, _ = program()
    found = {op.nodes[0]: TARGET.can(op, made) for op in made.operations}
    assert (found["deep"].container, found["up"].container, found["conv"].container) == (
        "Coded 3 bit", "Coded float32", "Grid 8 bit",
    )  # fmt: skip
    assert not any(isinstance(one, Refusal) or one.note for one in found.values())
    header, reader = unwrap(TARGET.write(made, {}, {}))
    others = sum(array.nbytes for op in made.operations for array in op.constants.values())
    weighted = sum(one.bytes for name, one in found.items() if name in ("conv", "deep", "up", "fc"))
    assert reader.left == weighted + others
    assert header["name"] == "all kinds"


def test_weights_whose_scales_were_raised_for_a_bias_are_the_programs():
    net = network()
    net.by_name["fc"].operator.bias.data[0] = 1e6
    tiny = Grid(np.full((5, 11), 100, np.int8), np.full(5, 1e-9, np.float32), 0, 8)
    made, _ = program(net, {"fc": Coded(Sparse(np.ones((5, 11), np.bool_), tiny))})
    (fc,) = [op for op in made.operations if op.kind == "linear"]
    assert (fc.weights.q != tiny.q).any()
    assert isinstance(stored(fc).encoding, Coded)
    assert TARGET.differences(TARGET.write(made, {}, {}), made, {}) == []


def test_differences_are_noticed():
    made, _ = program()
    content = TARGET.write(made, {}, {})
    other, _ = program(changed={"conv": Grid(np.ones((8, 3, 3, 3), np.int8), np.full(8, 0.025, np.float32), 0, 8)})
    said = TARGET.differences(content, other, {})
    assert "relu6: q holds other values in the file" in said
    assert "relu6: multiplier holds other values in the file" not in said


@pytest.mark.parametrize(
    "values", [[0, 0], [1, -1], [127, -128], [128, 0], [-129, 5], [2**23, 1], [2**31 - 1, -(2**31)]]
)
def test_biases_in_as_few_bytes_as_they_need(values):
    bias = np.array(values, np.int32)
    width = bias_width(bias)
    assert width == (
        0
        if not bias.any()
        else next(n for n in range(1, 5) if all(-(2 ** (8 * n - 1)) <= v < 2 ** (8 * n - 1) for v in values))
    )
    content = pack_bias(bias, width)
    assert len(content) == 2 * width
    from studio.core.packing import Reader

    assert read_bias(Reader(content), 2, width).tolist() == values


def test_every_flipped_or_missing_byte_is_found():
    net = Network(
        "n", [Node("x", "x", (), op.Input((1, 4))), Node("fc", "fc", ("x",), op.Linear(torch.ones(2, 4), None))], ["fc"]
    )
    encoding = Coded(Sparse(np.eye(2, 4) > 0, Dense(np.ones((2, 4), np.float32))))
    content = TARGET.write(lower(net, {"fc": encoding}, {}), {}, {})
    assert read(content).program.name == "n"
    for place in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            broken = bytearray(content)
            broken[place] ^= flip
            with pytest.raises(FileError):
                read(bytes(broken))
        with pytest.raises(FileError):
            read(content[:place])
    with pytest.raises(FileError, match="check sum"):
        read(content + b"\0")


def places(value, path=()):
    """Paths of all values inside a JSON value, itself included."""
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def replaced(value, path, other):
    found = copy.deepcopy(value)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = other
    return found


HOSTILE = (None, -1, 0, 3, 10**9, 10**30, 1e300, "x", "inf", [], [10**6] * 4, [-5, 2], {}, {"a": 1}, True)


def test_a_hostile_header_gives_a_program_or_an_error():
    made, _ = program()
    content = TARGET.write(made, DESCRIPTION, {})
    header, reader = unwrap(content)
    tensors = bytes(reader.take(reader.left))
    generator = np.random.default_rng(0)
    paths = [path for path in places(header) if path]
    accepted = 0
    for path in paths:
        for other in generator.choice(len(HOSTILE), 4, replace=False):
            try:
                read(wrap(replaced(header, path, HOSTILE[other]), tensors))
                accepted += 1
            except FileError:
                continue
    assert accepted < len(paths)


def test_hostile_tensors_give_a_program_or_an_error():
    made, _ = program()
    header, reader = unwrap(TARGET.write(made, {}, {}))
    tensors = bytes(reader.take(reader.left))
    for place in range(len(tensors)):
        broken = bytearray(tensors)
        broken[place] ^= 0x41
        try:
            read(wrap(header, bytes(broken)))
        except FileError:
            continue
    with pytest.raises(FileError, match="more behind"):
        read(wrap(header, tensors + b"\0"))


def huge(kind, more, shape=(1, 2, 64, 64), inputs=(0,)):
    return {"name": "n", "inputs": [["x", shape]], "outputs": [1], "ops": [[kind, list(inputs), "y", more]]}


PADS = [10**5] * 4
NEAREST = {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor", "scale": [1, 1]}
LAST_PART = {"kernel": [10**9, 1], "stride": [10**9, 1], "pads": [0] * 4, "ceil": True, "dilation": [1, 1]}
HUGE = [
    huge("pad", {"s": {"pads": [0, 0, *PADS[:2]] * 2, "mode": "constant", "value": 0}}),
    huge("resize", {"s": {"size": PADS[:2], **NEAREST}}),
    huge("expand", {"s": {"shape": [2, 64, 64, 10**6]}}, (1, 2, 64, 64, 1)),
    huge("average_pool", {"s": {"kernel": [2, 2], "stride": [1, 1], "pads": PADS, "ceil": False, "count_pads": True}}),
    huge("max_pool", {"s": LAST_PART}),
    huge("concat", {"s": {"axis": 1}}, (1, 2**20, 8), (0,) * 10),
    huge("relu", {}, (1, 2**13, 2**14)),
    huge("matmul", {}, (1, 2**14, 2**10), (0, 0)),
]


@pytest.mark.parametrize("header", HUGE)
def test_nothing_huge_is_made(header):
    with pytest.raises(FileError, match="damaged"):
        read(wrap(header, b""))


def test_a_header_that_unpacks_to_more_than_it_says_is_refused():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(b" " * 10**7) + packer.flush()
    body = b"ECS\2" + pack_count(len(packed)) + pack_count(1000) + packed
    with pytest.raises(FileError, match="header"):
        read(body + zlib.crc32(body).to_bytes(4, "little"))


def test_other_files_and_other_versions_are_named(tmp_path):
    path = tmp_path / "model.ecs"
    path.write_bytes(b"PK\3\4 something else")
    with pytest.raises(FileError, match=r"model\.ecs: is no packed model"):
        runtimes.open(path)
    path.write_bytes(b"ECS\7" + bytes(20))
    with pytest.raises(FileError, match="version 7"):
        runtimes.open(path)


def test_the_header_is_plain_json():
    made, _ = program()
    header, _ = unwrap(TARGET.write(made, DESCRIPTION, {}))
    assert json.loads(json.dumps(header, allow_nan=False)) == header
    assert header["preprocess"] == DESCRIPTION["preprocess"]
    assert header["inputs"] == [["x", [1, 3, 8, 8]]]

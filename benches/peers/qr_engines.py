"""Exact reads and CPU time a frame of QR engines on 1080p luma, one thread: qr_engines.py zxing|opencv LUMA TEXTS

LUMA holds planes of 1920x1080 bytes, TEXTS a line for each. Prints `NANOSECONDS READS`. Needs numpy and zxing-cpp or
OpenCV.
"""
import sys
import time

import numpy as np


def zxing():
    import zxingcpp

    qr = zxingcpp.BarcodeFormat.QRCode
    return lambda plane: [found.text for found in zxingcpp.read_barcodes(plane, formats=qr)]


def opencv():
    import cv2

    cv2.setNumThreads(1)
    detector = cv2.QRCodeDetector()
    return lambda plane: detector.detectAndDecodeMulti(plane)[1]


name, planes, texts = sys.argv[1:]
read = {"zxing": zxing, "opencv": opencv}[name]()
planes = np.fromfile(planes, np.uint8).reshape(-1, 1080, 1920)
texts = open(texts, encoding="utf-8").read().splitlines()
read(planes[0])
reads = 0
start = time.process_time_ns()
for plane, text in zip(planes, texts):
    reads += text in read(plane)
print((time.process_time_ns() - start) // len(planes), reads)

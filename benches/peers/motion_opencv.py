"""CPU time a frame of OpenCV's motion detectors on 1080p luma, one thread: motion_opencv.py CHAIN LUMA

LUMA holds planes of 1920x1080 bytes. They are played to and fro, so that the loop has no jump. Prints
`NANOSECONDS CHAIN`. Needs OpenCV and numpy.
"""
import sys
import time

import cv2
import numpy as np

WIDTH, HEIGHT, WARM_UP, FRAMES = 1920, 1080, 20, 60
cv2.setNumThreads(1)


def subtractor(model):
    return lambda plane, before: model.apply(plane)


def absdiff(plane, before):
    difference = cv2.GaussianBlur(cv2.absdiff(plane, before), (5, 5), 0)
    _, mask = cv2.threshold(difference, 25, 255, cv2.THRESH_BINARY)
    cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)


class Average:
    """A running average and its threshold; `height` reduces the picture first and adds boxes."""

    def __init__(self, height=None):
        self.height, self.mean = height, None

    def __call__(self, plane, before):
        if self.height:
            size = (WIDTH * self.height // HEIGHT, self.height)
            plane = cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST)
        if self.mean is None:
            self.mean = np.float32(plane)
        difference = cv2.absdiff(plane, cv2.convertScaleAbs(self.mean))
        _, mask = cv2.threshold(difference, 25, 255, cv2.THRESH_BINARY)
        cv2.accumulateWeighted(plane, self.mean, 0.02)
        if self.height:
            mask = cv2.dilate(mask, None, iterations=2)
            for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
                cv2.boundingRect(contour)


CHAINS = {
    "mog2": lambda: subtractor(cv2.createBackgroundSubtractorMOG2(detectShadows=False)),
    "knn": lambda: subtractor(cv2.createBackgroundSubtractorKNN(detectShadows=False)),
    "absdiff": lambda: absdiff,
    "average": Average,
    "small": lambda: Average(100),
}

name, path = sys.argv[1:]
planes = np.fromfile(path, np.uint8).reshape(-1, HEIGHT, WIDTH)
order = [*range(len(planes)), *reversed(range(len(planes)))]
step = CHAINS[name]()


def frame(number):
    step(planes[order[number % len(order)]], planes[order[(number - 1) % len(order)]])


for number in range(WARM_UP):
    frame(number)
start = time.process_time_ns()
for number in range(WARM_UP, WARM_UP + FRAMES):
    frame(number)
print((time.process_time_ns() - start) // FRAMES, name)

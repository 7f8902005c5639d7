"""CPU time a frame of OpenCV's motion detectors on 1080p luma, one thread: motion_opencv.py CHAIN LUMA

LUMA holds planes of 1920x1080 bytes. They are played to and fro, so that the loop has no jump. Prints
`NANOSECONDS CHAIN`. Needs OpenCV, numpy and scipy.
"""
import sys
import time

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

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


class Frigate:
    """The steps of Frigate's "improved" detector, with its defaults: the Y plane reduced to 100 rows, its contrast stretched
    between the 4th and the 96th percentile (means of 50 frames), Gauss of sigma 1 and radius 1, a running average, threshold
    30, dilated once, contours of more than 10 pixels as boxes; recalibration when 80 % of the picture changes."""

    HEIGHT, HISTORY, ALPHA, CALIBRATING_ALPHA = 100, 50, 0.01, 0.2

    def __init__(self):
        self.size = (WIDTH * self.HEIGHT // HEIGHT, self.HEIGHT)
        self.mean = np.zeros(self.size[::-1], np.float32)
        self.limits = np.tile(np.array([0, 255], np.uint8), (self.HISTORY, 1))
        self.frame, self.moving, self.calibrating = 0, 0, True

    def __call__(self, plane, before):
        small = cv2.resize(plane, self.size, interpolation=cv2.INTER_NEAREST)
        limits = [np.uint8(np.percentile(small, part)) for part in (4, 96)]
        if limits[0] < limits[1]:
            self.limits[self.frame % self.HISTORY] = limits
            self.frame += 1
            low, high = self.limits.mean(axis=0)
            small = ((np.clip(small, low, high) - low) / (high - low) * 255).astype(np.uint8)
        small = gaussian_filter(small, sigma=1, radius=1)
        difference = cv2.absdiff(small, cv2.convertScaleAbs(self.mean))
        _, mask = cv2.threshold(difference, 30, 255, cv2.THRESH_BINARY)
        mask = cv2.dilate(mask, None, iterations=1)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        areas = [cv2.contourArea(contour) for contour in contours]
        boxes = [cv2.boundingRect(contour) for contour, area in zip(contours, areas) if area > 10]
        share = sum(areas) / small.size
        if share < 0.05 and len(boxes) <= 4:
            self.calibrating = False
        if share > 0.8:
            self.calibrating = True
        self.moving = self.moving + 1 if boxes else 0
        if not 0 < self.moving < 10:
            cv2.accumulateWeighted(small, self.mean, self.CALIBRATING_ALPHA if self.calibrating else self.ALPHA)


CHAINS = {
    "mog2": lambda: subtractor(cv2.createBackgroundSubtractorMOG2(detectShadows=False)),
    "knn": lambda: subtractor(cv2.createBackgroundSubtractorKNN(detectShadows=False)),
    "absdiff": lambda: absdiff,
    "average": Average,
    "frigate": Frigate,
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

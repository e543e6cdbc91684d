"""Train the demo's two classifiers: scikit-learn's MLP, and a small convolutional network in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 7
TEST_ROWS = 360
SCALE = 1.0 / 16.0
"""Pixels run from 0 to 16."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Split:
    """Pixels (rows, 64) from 0 to 16 and classes (rows,) for training and for the test."""

    train_pixels: Array
    train_labels: Array
    test_pixels: Array
    test_labels: Array


def load_split() -> Split:
    """scikit-learn's copy of the UCI digits, split by class with a fixed seed."""
    digits = load_digits()
    pixels, labels = digits.data.astype(np.float32), digits.target.astype(np.int64)
    parts = train_test_split(pixels, labels, test_size=TEST_ROWS, random_state=SEED, stratify=labels)
    return Split(parts[0], parts[2], parts[1], parts[3])


def train_mlp(split: Split) -> MLPClassifier:
    """A 64-64-10 network."""
    classifier = MLPClassifier((64,), alpha=1e-3, max_iter=300, learning_rate_init=2e-3, random_state=SEED)
    return classifier.fit(split.train_pixels * SCALE, split.train_labels)


def _shifted(images: Array, rng: np.random.Generator) -> Array:
    """Images moved by up to one pixel: there are only 1,437 of them to learn from."""
    moved = np.empty_like(images)
    offsets = rng.integers(-1, 2, size=(len(images), 2))
    for index, (down, right) in enumerate(offsets):
        moved[index] = np.roll(images[index], (down, right), axis=(1, 2))
        if down:
            moved[index][:, 0 if down > 0 else -1, :] = 0
        if right:
            moved[index][:, :, 0 if right > 0 else -1] = 0
    return moved


def _patches(images: Array) -> Array:
    """(n, c, h, w) to (n, h, w, c * 9): the 3×3 neighbourhood of every pixel, zeros outside."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*images.shape[:1], *images.shape[2:], -1)


def _unpatch(gradient: Array, channels: int) -> Array:
    """The adjoint of `_patches`."""
    count, height, width, _ = gradient.shape
    parts = gradient.reshape(count, height, width, channels, 3, 3)
    total = np.zeros((count, channels, height + 2, width + 2), gradient.dtype)
    for row in range(3):
        for column in range(3):
            total[:, :, row : row + height, column : column + width] += parts[..., row, column].transpose(0, 3, 1, 2)
    return total[:, :, 1:-1, 1:-1]


class Cnn:
    """Conv 3×3 → ReLU → pool → conv 3×3 → ReLU → pool → dense → ReLU → dense, trained by Adam on cross-entropy."""

    def __init__(self, rng: np.random.Generator) -> None:
        def normal(*shape: int) -> Array:
            return (rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)

        self.weights = {
            "conv1.weight": normal(16, 9), "conv1.bias": np.zeros(16, np.float32),
            "conv2.weight": normal(32, 16 * 9), "conv2.bias": np.zeros(32, np.float32),
            "hidden.weight": normal(64, 32 * 4), "hidden.bias": np.zeros(64, np.float32),
            "head.weight": normal(10, 64), "head.bias": np.zeros(10, np.float32),
        }  # fmt: skip
        self._moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in self.weights.items()}
        self._steps = 0

    def _conv(self, images: Array, name: str) -> tuple[Array, Any]:
        patches = _patches(images)
        raw = patches @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        active = np.maximum(raw, 0).transpose(0, 3, 1, 2)
        count, channels, height, width = active.shape
        blocks = active.reshape(count, channels, height // 2, 2, width // 2, 2)
        pooled = blocks.max(axis=(3, 5))
        return pooled, (patches, active, pooled, images.shape[1])

    def _conv_back(self, gradient: Array, name: str, saved: Any, grads: dict[str, Array]) -> Array:
        patches, active, pooled, channels = saved
        upsampled = pooled.repeat(2, axis=2).repeat(2, axis=3)
        spread = gradient.repeat(2, axis=2).repeat(2, axis=3) * ((active == upsampled) & (active > 0))
        back = spread.transpose(0, 2, 3, 1)
        flat, flat_patches = back.reshape(-1, back.shape[-1]), patches.reshape(-1, patches.shape[-1])
        grads[f"{name}.weight"], grads[f"{name}.bias"] = flat.T @ flat_patches, flat.sum(axis=0)
        return _unpatch(back @ self.weights[f"{name}.weight"], channels)

    def _dense(self, rows: Array, name: str) -> Array:
        return rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def step(self, images: Array, labels: Array, rate: float) -> None:
        """One step on a batch of images (n, 1, 8, 8) from 0 to 1."""
        first, saved1 = self._conv(images, "conv1")
        second, saved2 = self._conv(first, "conv2")
        flat = second.reshape(len(images), -1)
        hidden = np.maximum(self._dense(flat, "hidden"), 0)
        scores = self._dense(hidden, "head")
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = shares / shares.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        grads = {"head.weight": error.T @ hidden, "head.bias": error.sum(axis=0)}
        back = (error @ self.weights["head.weight"]) * (hidden > 0)
        grads |= {"hidden.weight": back.T @ flat, "hidden.bias": back.sum(axis=0)}
        back = (back @ self.weights["hidden.weight"]).reshape(second.shape)
        back = self._conv_back(back, "conv2", saved2, grads)
        self._conv_back(back, "conv1", saved1, grads)
        self._adam(grads, rate)

    def _adam(self, grads: dict[str, Array], rate: float) -> None:
        self._steps += 1
        for name, gradient in grads.items():
            mean, square = self._moments[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            corrected = mean / (1 - 0.9**self._steps), square / (1 - 0.999**self._steps)
            decay = 1e-4 * self.weights[name] if name.endswith("weight") else 0
            self.weights[name] -= rate * (corrected[0] / (np.sqrt(corrected[1]) + 1e-8) + decay)


def train_cnn(split: Split, epochs: int = 60, batch: int = 64) -> dict[str, Array]:
    """Weights of the trained network by layer name; convolutions as (out, in, 3, 3)."""
    rng = np.random.default_rng(SEED)
    network = Cnn(rng)
    images = (split.train_pixels * np.float32(SCALE)).reshape(-1, 1, 8, 8)
    for epoch in range(epochs):
        order = rng.permutation(len(images))
        rate = 2e-3 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            network.step(_shifted(images[chosen], rng), split.train_labels[chosen], rate)
    weights = dict(network.weights)
    weights["conv1.weight"] = weights["conv1.weight"].reshape(16, 1, 3, 3)
    weights["conv2.weight"] = weights["conv2.weight"].reshape(32, 16, 3, 3)
    return {name: value.astype(np.float32) for name, value in weights.items()}

"""Time of a training step through tfmot with accumulator budgets against tfmot's own 8-bit one.

    python benchmarks/tfmot_step.py [--batch 128] [--steps 20] [--method a2q] [--calibrated]

A residual network of tf_keras for 32x32x3 images, quantized by `quantize_apply` with either scheme.
Both train on the same random batch, in one process and in turns; the medians are compared: of the
time that passes, and of the processor time, which what else a machine does changes less.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

import keras_accq as accq
from keras_accq.bench.alternate import medians

L = tf_keras.layers


def network() -> Any:
    """ResNet-8's shape: three stages of a residual block each."""
    inputs = tf_keras.Input((32, 32, 3))
    x = _convolution(inputs, 16, 1)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = _convolution(_convolution(x, filters, strides), filters, 1, relu=False)
        if strides != 1:
            x = L.BatchNormalization()(L.Conv2D(filters, 1, strides, use_bias=False)(x))
        x = L.ReLU()(L.Add()([x, y]))
    x = L.GlobalAveragePooling2D()(x)
    return tf_keras.Model(inputs, L.Dense(10)(x), name="resnet8")


def _convolution(x: Any, filters: int, strides: int, relu: bool = True) -> Any:
    x = L.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(x)
    return L.ReLU()(x) if relu else x


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128, help="images in a step (128)")
    parser.add_argument("--steps", type=int, default=20, help="steps measured of each (20)")
    parser.add_argument("--method", default="a2q", help="how weights are quantized (a2q)")
    parser.add_argument("--calibrated", action="store_true", help="give calibration data")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    x = rng.random((arguments.batch, 32, 32, 3)).astype(np.float32)
    y = rng.integers(0, 10, arguments.batch)
    quantization = tfmot.quantization.keras
    annotated = quantization.quantize_annotate_model(network())
    scheme = accq.AccumulatorQuantizeScheme(
        accq.AccumulatorQuantizeConfig(method=arguments.method),
        calibration_data=x if arguments.calibrated else None,
        input_range=(0, 1),
    )
    models = [
        quantization.quantize_apply(annotated),
        quantization.quantize_apply(annotated, scheme=scheme),
    ]
    steps = [step(model, x, y) for model in models]
    calibrated = ", calibrated" if arguments.calibrated else ""
    print(f"resnet8, {arguments.method}{calibrated}, batch {arguments.batch}:")
    for name, clock in (("time", time.perf_counter), ("processor time", time.process_time)):
        plain, ours = medians(steps, samples=arguments.steps, clock=clock)
        print(
            f"  {name}: tfmot's 8 bits {plain * 1e3:.1f} ms, accumulator budgets "
            f"{ours * 1e3:.1f} ms, ratio {ours / plain:.2f}"
        )
    return 0


def step(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """One training step of a compiled model, as a call."""
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.SGD(1e-4), loss)
    return lambda: model.train_on_batch(x, y)


if __name__ == "__main__":
    sys.exit(main())

"""The int8 file of a float Keras model, for benchmarks: post-training, no training, no accuracy."""

import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_accq as accq

_IMAGES = 500


def int8_file(model: Path, acc_bits: int | None, data: Path | None) -> bytes:
    """Quantizes and converts.

    Args:
        model: A `.keras` or `.h5` file whose input is one image with values in 0..255.
        acc_bits: Constrain the weights to accumulators of so many bits, all of a channel in one;
            None for ordinary 8-bit weights.
        data: An .npz file with `x_train`, the first images of which fix the ranges; None for
            random pixels, with which times are near the real ones and results make no sense.
    """
    network = keras.models.load_model(model, compile=False)
    if data is None:
        shape = (_IMAGES, *network.inputs[0].shape[1:])
        images = np.random.default_rng(0).integers(0, 256, shape)
    else:
        with np.load(data) as arrays:
            images = arrays["x_train"][:_IMAGES]
    settings = {"acc_bits": acc_bits}
    if acc_bits is None:
        settings = {"acc_bits": 32, "method": "round", "weight_bits": 8, "input_bits": 8}
    quantized = accq.quantize(
        network, calibration_data=images.astype(np.float32), input_range=(0, 255), **settings
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        accq.convert(quantized, path)
        return path.read_bytes()

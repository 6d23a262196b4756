"""Time of a quantization-aware training step against the float model's.

    python benchmarks/qat_step.py [model.keras] [--batch 128] [--steps 20] [--method a2q]

Without a file: ResNet-8 for 32x32x3 images. Both models train on the same random batch, in one
process and in turns; the medians are compared.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

import keras_accq as accq
from keras_accq.bench.alternate import medians

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a .keras or .h5 file; ResNet-8 if none")
    parser.add_argument("--batch", type=int, default=128, help="images in a step (128)")
    parser.add_argument("--steps", type=int, default=20, help="steps measured of each (20)")
    parser.add_argument("--method", default="a2q", help="how weights are quantized (a2q)")
    arguments = parser.parse_args()

    if arguments.model:
        model = keras.models.load_model(arguments.model, compile=False)
    else:
        from networks import resnet8

        model = resnet8()
    qmodel = accq.quantize(model, acc_bits=16, method=arguments.method, input_range=(0, 255))
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (arguments.batch, *model.input_shape[1:])).astype(np.float32)
    y = rng.integers(0, model.output_shape[-1], arguments.batch)
    runs = [step(m, x, y) for m in (model, qmodel)]
    plain, quantized = medians(runs, samples=arguments.steps)
    print(
        f"{model.name}, {arguments.method}, batch {arguments.batch}: float {plain * 1e3:.1f} ms, "
        f"quantized {quantized * 1e3:.1f} ms, ratio {quantized / plain:.2f}"
    )
    return 0


def step(model: keras.Model, x: np.ndarray, y: np.ndarray):
    """One training step of a compiled model, as a call."""
    model.compile(keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(x, y)


if __name__ == "__main__":
    sys.exit(main())

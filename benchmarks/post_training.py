"""What each post-training step does for CIFAR-10 accuracy, without any training.

    python benchmarks/post_training.py --checkpoint resnet8_cifar10.h5 --data cifar10.npz
    python benchmarks/post_training.py --checkpoint ... --data ... --steps auto --time-limit 900

Each row is the accuracy on the validation images, the last of the training set (a checkpoint may
have been trained on them), and the mean Kullback-Leibler divergence of the outputs from the float
network's, which tells small differences better. The test images are read only with `--test`, and
then by the last step alone.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import keras_accq as accq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import cifar10 as example


class Setup:
    """The network, its data, and the steps by name."""

    def __init__(self, options: argparse.Namespace) -> None:
        (x, y), self.test = example.load_data(options.data)
        self.validation = x[-options.validation :], y[-options.validation :]
        self.calibration = x[: options.calibration].astype(np.float32)
        self.model = keras.models.load_model(options.checkpoint, compile=False)
        self.options = options
        self.expected = self.probabilities(self.model, self.validation[0])

    def probabilities(self, model: keras.Model, x: np.ndarray) -> np.ndarray:
        outputs = model.predict(x.astype(np.float32), batch_size=500, verbose=0).astype(np.float64)
        if np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
            return np.maximum(outputs, 1e-12)
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return np.maximum(powers / powers.sum(axis=1, keepdims=True), 1e-12)

    def accuracy(self, model: keras.Model) -> float:
        found = self.probabilities(model, self.validation[0]).argmax(axis=1)
        return float(np.mean(found == self.validation[1]))

    def divergence(self, model: keras.Model) -> float:
        found = self.probabilities(model, self.validation[0])
        return float((self.expected * np.log(self.expected / found)).sum(axis=1).mean())

    def quantized(self, model: keras.Model | None = None, **arguments: object) -> keras.Model:
        arguments = {"acc_bits": self.options.acc_bits, "tile": self.options.tile, **arguments}
        return accq.quantize(
            self.model if model is None else model,
            calibration_data=self.calibration,
            input_range=(0, 255),
            **arguments,
        )

    def steps(self) -> dict[str, Callable[[], keras.Model]]:
        return {
            "int8": lambda: self.quantized(
                method="round", acc_bits=32, tile=None, weight_bits=8, input_bits=8
            ),
            "round": lambda: self.quantized(method="round"),
            "round+equalize": lambda: self.quantized(
                accq.equalize(self.model, self.calibration), method="round"
            ),
            "round+equation11": lambda: self.quantized(accq.equalize(self.model), method="round"),
            "round+bias": lambda: self._corrected(self.quantized(method="round")),
            "round+bn": lambda: self._reestimated(self.quantized(method="round"), relative=False),
            "round+relative_bn": lambda: self._reestimated(self.quantized(method="round")),
            "axe": lambda: self.quantized(method="axe"),
            "axe+equalize": lambda: self.quantized(method="axe", equalize=True),
            "axe+relative_bn": lambda: self.quantized(method="axe", reestimate_batchnorm=True),
            "axe+percentile": lambda: self.quantized(method="axe", activation_range="percentile"),
            "axe+minmax": lambda: self.quantized(method="axe", activation_range="minmax"),
            "auto": lambda: self.quantized(
                method="auto", evaluate=self.accuracy, time_limit=self.options.time_limit
            ),
        }

    def _corrected(self, qmodel: keras.Model) -> keras.Model:
        accq.correct_biases(qmodel, self.model, self.calibration)
        return qmodel

    def _reestimated(self, qmodel: keras.Model, relative: bool = True) -> keras.Model:
        accq.reestimate_batchnorm(qmodel, self.calibration, self.model if relative else None)
        return qmodel


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="float Keras model for pixels in 0..255")
    add("--data", type=Path, required=True, help="CIFAR-10, as examples/cifar10.py takes it")
    add("--acc-bits", type=int, default=16)
    add("--tile", type=int, help="products that share an accumulator (default: all)")
    add("--validation", type=int, default=5000)
    add("--calibration", type=int, default=1000)
    add("--time-limit", type=float, default=600.0, help="seconds, of auto")
    add("--steps", nargs="+", help="some of the rows (default: all but auto)")
    add("--test", action="store_true", help="read the test images with the last step's model")
    options = parser.parse_args()
    setup = Setup(options)
    steps = setup.steps()
    unknown = set(options.steps or ()) - set(steps)
    if unknown:
        parser.error(f"--steps: expected some of {', '.join(steps)}; received {unknown}")
    print(f"{'float':20} {setup.accuracy(setup.model):8.2%}")
    for name in options.steps or [name for name in steps if name != "auto"]:
        start = time.perf_counter()
        qmodel = steps[name]()
        seconds = time.perf_counter() - start
        print(
            f"{name:20} {setup.accuracy(qmodel):8.2%}  divergence {setup.divergence(qmodel):.4f}  "
            f"{seconds:6.0f} s",
            flush=True,
        )
    if options.test:
        print(accq.summary(qmodel))
        accq.round_biases(qmodel)
        found = setup.probabilities(qmodel, setup.test[0]).argmax(axis=1)
        print(f"{name} on the test images: {np.mean(found == setup.test[1]):.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The whole road on real data: train, quantize for 16-bit accumulators, convert, prove and run.

    python examples/digits.py                                   # about a minute on two cores
    python examples/digits.py --cross-validate 5 --acc-bits 16 14 12

Trains a small network on scikit-learn's 1,797 handwritten digits (8x8 pixels), quantizes it for a
monolithic accumulator and for one per tile of 64 products, trains on, and writes certified
`.tflite` files, which run in LiteRT with this package's kernels. Widths are chosen on training
images; the test images are used once, for the figures printed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

import keras_accq as accq

TILE = 64


def network() -> keras.Model:
    """Three convolutions (K = 9, 288, 288) and a dense layer, for pixels in 0..16."""

    def block(x, filters):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 16)(inputs)
    x = block(block(x, 32), 32)
    x = block(keras.layers.MaxPooling2D()(x), 64)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x), name="digits")


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, rate: float) -> None:
    """Trains with Adam and a cosine decay of the learning rate."""
    steps = epochs * -(-len(x) // 32)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))


def quantized(model: keras.Model, acc_bits: int, tile: int | None, x, y, epochs: int):
    """The quantized model, trained on. Without `calibration_data`, ranges would be observed."""
    qmodel = accq.quantize(model, acc_bits, tile=tile, calibration_data=x, input_range=(0, 16))
    train(qmodel, x, y, epochs, 3e-4)
    accq.round_biases(qmodel)  # so that it predicts exactly what its file will
    return qmodel


class Runner:
    """A file in an interpreter with one thread, fed one image at a time."""

    def __init__(self, path: Path, interpreter_class) -> None:
        self.interpreter = interpreter_class(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self.input["index"], image[None])
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0]

    def integers(self, x: np.ndarray) -> np.ndarray:
        """Images as the file's int8 input: its scale and zero point are of rescaled pixels."""
        scale, zero_point = self.input["quantization"]
        return np.clip(np.rint(x / 16 / scale) + zero_point, -128, 127).astype(np.int8)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([self(image).argmax() for image in self.integers(x)] == y))


def microseconds(runners: list[Runner], x: np.ndarray, rounds: int = 15) -> list[float]:
    """Median time per image of each runner, taking turns so that all see the same machine."""
    times: list[list[float]] = [[] for _ in runners]
    images = [runner.integers(x[:20]) for runner in runners]
    for _ in range(rounds):
        for runner, batch, taken in zip(runners, images, times, strict=True):
            start = time.perf_counter()
            for image in batch:
                runner(image)
            taken.append((time.perf_counter() - start) / len(batch))
    return [float(np.median(taken)) * 1e6 for taken in times]


def show(acc_bits: int, epochs: int, folder: Path) -> None:
    """One split of the data, all the way to kernels; prints a table."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    keras.utils.set_random_seed(0)
    model = network()
    train(model, x, y, 2 * epochs, 2e-3)
    rows = [("float Keras model", f"{accuracy(model, x_test, y_test):.2%}", "", "")]
    for name, tile in (("monolithic", None), (f"tile={TILE}", TILE)):
        qmodel = quantized(model, acc_bits, tile, x, y, epochs)
        print(f"\n{acc_bits} bits, {name}\n{accq.summary(qmodel)}")
        paths = {ops: folder / f"digits_{name}_{ops}.tflite" for ops in ("custom", "builtin")}
        certificates = {ops: accq.convert(qmodel, path, ops=ops) for ops, path in paths.items()}
        print(certificates["custom"])
        rows.append((f"{name}, Keras", f"{accuracy(qmodel, x_test, y_test):.2%}", "", ""))
        rows += run(name, paths, certificates["custom"].verdict, x_test, y_test)
    headings = ("", "test accuracy", "us per image", "certified")
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(4)]
    print()
    for row in (headings, *rows):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def run(name: str, paths: dict[str, Path], verdict: str, x, y) -> list[tuple[str, ...]]:
    """The rows of one model's two files: stock LiteRT with built-ins, and our kernels."""
    runners = {"stock LiteRT, int8 built-ins": Runner(paths["builtin"], Interpreter)}
    try:
        runners["keras-accq kernels"] = Runner(paths["custom"], accq.Interpreter)
    except accq.DelegateError as error:
        print(f"\nOnly stock LiteRT can be shown: {error}")
    times = microseconds(list(runners.values()), x)
    return [
        (
            f"{name}, {label}",
            f"{runner.accuracy(x, y):.2%}",
            f"{taken:.1f}",
            verdict if label.startswith("keras") else "",
        )
        for (label, runner), taken in zip(runners.items(), times, strict=True)
    ]


def cross_validate(folds: int, all_bits: list[int], epochs: int) -> None:
    """Accuracy of float and of monolithic quantized models, every image tested once."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    names = ["float", *(f"P = {bits} monolithic" for bits in all_bits)]
    results: dict[str, list[float]] = {name: [] for name in names}
    splits = StratifiedKFold(folds, shuffle=True, random_state=0).split(images, labels)
    for fold, (training, test) in enumerate(splits):
        x, y = images[training], labels[training]
        keras.utils.set_random_seed(fold)
        model = network()
        train(model, x, y, 2 * epochs, 2e-3)
        models = [model, *(quantized(model, bits, None, x, y, epochs) for bits in all_bits)]
        for name, trained in zip(names, models, strict=True):
            results[name].append(accuracy(trained, images[test], labels[test]))
        line = ", ".join(f"{name} {values[-1]:.2%}" for name, values in results.items())
        print(f"fold {fold + 1} of {folds}: {line}", flush=True)
    for name, values in results.items():
        print(f"{name:20} mean {np.mean(values):.2%}  (standard deviation {np.std(values):.2%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acc-bits", type=int, nargs="+", default=[16], help="P (default 16)")
    parser.add_argument("--epochs", type=int, default=12, help="of training after quantization")
    parser.add_argument("--cross-validate", type=int, metavar="FOLDS", help="only accuracies")
    parser.add_argument("--output", type=Path, help="folder for the .tflite files")
    options = parser.parse_args()
    if options.cross_validate:
        cross_validate(options.cross_validate, options.acc_bits, options.epochs)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for acc_bits in options.acc_bits:
            show(acc_bits, options.epochs, folder)


if __name__ == "__main__":
    main()

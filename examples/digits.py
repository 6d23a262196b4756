"""The whole road on real data: train, quantize for 16-bit accumulators, convert, prove and run.

    python examples/digits.py                                   # about a minute on two cores
    python examples/digits.py --cross-validate 5 --acc-bits 16 14 12

Trains a small network on scikit-learn's 1,797 handwritten digits (8x8 pixels), quantizes it for a
monolithic accumulator and for one per tile of 64 products, trains on, and writes certified
`.tflite` files, which run in LiteRT with this package's kernels. Widths are chosen on training
images; the test images are used once, for the figures printed.
"""

from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np
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


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    return common.right(model.predict(x, verbose=0), y)


def quantized(model: keras.Model, acc_bits: int, tile: int | None, x, y, epochs: int):
    """The quantized model, trained on. Without `calibration_data`, ranges would be observed."""
    qmodel = accq.quantize(model, acc_bits, tile=tile, calibration_data=x, input_range=(0, 16))
    common.train(qmodel, x, y, epochs, 3e-4)
    accq.round_biases(qmodel)  # so that it predicts exactly what its file will
    return qmodel


def show(acc_bits: int, epochs: int, folder: Path, figure: Path | None) -> None:
    """One split of the data, all the way to kernels; prints a table."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    model = network()
    common.train(model, x, y, 2 * epochs, 2e-3)
    rows = [common.float_row(model, accuracy(model, x_test, y_test))]
    for name, tile in (("monolithic", None), (f"tile={TILE}", TILE)):
        qmodel = quantized(model, acc_bits, tile, x, y, epochs)
        print(f"\n{acc_bits} bits, {name}\n{accq.summary(qmodel)}")
        certificate, more = common.deploy(
            qmodel, folder / f"digits_{name}", x_test, lambda z: common.right(z, y_test), name
        )
        print(certificate)
        rows += [common.Row(f"{name}, Keras", accuracy(qmodel, x_test, y_test)), *more]
    print(f"\n{common.table(rows)}")
    if figure:
        common.figure(figure, f"Digits, P = {acc_bits}, tile={TILE}", certificate.ops, rows)


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
        common.train(model, x, y, 2 * epochs, 2e-3)
        models = [model, *(quantized(model, bits, None, x, y, epochs) for bits in all_bits)]
        for name, trained in zip(names, models, strict=True):
            results[name].append(accuracy(trained, images[test], labels[test]))
        line = ", ".join(f"{name} {values[-1]:.2%}" for name, values in results.items())
        print(f"fold {fold + 1} of {folds}: {line}", flush=True)
    for name, values in results.items():
        print(f"{name:20} mean {np.mean(values):.2%}  (standard deviation {np.std(values):.2%})")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__, several_bits=True)
    parser.add_argument("--epochs", type=int, default=12, help="of training after quantization")
    parser.add_argument("--cross-validate", type=int, metavar="FOLDS", help="only accuracies")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    if options.cross_validate:
        cross_validate(options.cross_validate, options.acc_bits, options.epochs)
        return
    with common.folder(options.output) as folder:
        for acc_bits in options.acc_bits:
            show(acc_bits, options.epochs, Path(folder), options.figure)


if __name__ == "__main__":
    main()

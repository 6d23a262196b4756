"""Fashion-MNIST: a small convolutional network for 16-bit accumulators, with and without training.

    python examples/fashion_mnist.py --data /usr/share/datasets/fashion-mnist
    python examples/fashion_mnist.py --epochs 1 --train 4000 --figure fashion.png

The data are 60,000 and 10,000 images of 28x28 pixels in four files, `train-images-idx3-ubyte.gz`
and so on, as Debian's package dataset-fashion-mnist installs them; nothing is downloaded. The float
network is quantized twice: by AXE, which needs 500 images and no training, and by A2Q, trained on
for as many epochs. With the default four epochs that takes a few minutes on two cores.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np

import keras_accq as accq

DATA = Path("/usr/share/datasets/fashion-mnist")


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 [count, 28, 28, 1] in 0..255 and labels; `part` is "train" or "t10k"."""
    names = (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise SystemExit(
            f"{folder} has no {' and no '.join(missing)}; install Debian's dataset-fashion-mnist, "
            "or name the folder that has them with --data"
        )
    with gzip.open(folder / names[0]) as images, gzip.open(folder / names[1]) as labels:
        x = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return x.astype(np.float32), y.astype(np.int64)


def network() -> keras.Model:
    """Four convolutions (K = 9, 144, 288, 288) and a dense layer; 2.2 MMAC."""

    def block(x, filters, strides):
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for filters, strides in ((16, 1), (32, 2), (32, 1), (64, 2)):
        x = block(x, filters, strides)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x), name="fashion")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder (default {DATA})")
    parser.add_argument("--epochs", type=int, default=4, help="in float, and with A2Q (default 4)")
    parser.add_argument("--train", type=int, default=60_000, help="training images to use")
    parser.add_argument("--test", type=int, default=10_000, help="test images to use")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    x, y = (part[: options.train] for part in load(options.data, "train"))
    model = network()
    common.train(model, x, y, options.epochs, 3e-3, batch=128)

    qmodels = {}
    for method in ("axe", "a2q"):
        qmodel = accq.quantize(
            model,
            options.acc_bits,
            method=method,
            calibration_data=x[:500],
            input_range=(0, 255),
        )
        if method == "a2q":
            common.train(qmodel, x, y, options.epochs, 1e-3, batch=128)
        accq.round_biases(qmodel)
        print(f"\n{method}\n{accq.summary(qmodel)}")
        qmodels[method] = qmodel

    x_test, y_test = (part[: options.test] for part in load(options.data, "t10k"))
    score = common.right(model.predict(x_test, verbose=0), y_test)
    rows = [common.float_row(model, score)]
    with common.folder(options.output) as folder:
        for method, qmodel in qmodels.items():
            certificate, more = common.deploy(
                qmodel,
                Path(folder) / f"fashion_{method}",
                x_test,
                lambda outputs: common.right(outputs, y_test),
                method,
            )
            rows += more
    print(f"\n{common.table(rows)}")
    if options.figure:
        title = f"Fashion-MNIST, P = {options.acc_bits}; layers of {method}"
        common.figure(options.figure, title, certificate.ops, rows)


if __name__ == "__main__":
    main()

"""A network of keras.applications for 16-bit accumulators, without training.

    python examples/imagenet.py --model MobileNetV2 --weights imagenet --data imagenet/val
    python examples/imagenet.py --model ResNet50 --weights resnet50.weights.h5 --data imagenet/val
    python examples/imagenet.py --size 32 --method round    # random weights, random images: quick

`--data` is a folder with one folder of images per class, whose names in alphabetical order are the
classes 0, 1, 2, ... (the 1,000 wnids, for ImageNet). The first `--calibration` images of a random
order calibrate, the next `--test` are tested; so give the validation images only if that is what
you want, or keep the figures apart yourself. `--weights imagenet` has Keras download the network's
weights; nothing else is ever downloaded. AXE takes minutes to hours on two cores, by the network;
`--method round` looks at no data but for ranges, is quick, and loses much.

Without `--data` the images are noise, and accuracies mean nothing: then the table gives how often
the file's first class is the float network's. Sizes, times and the certificate are real either way.
"""

from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np

import keras_accq as accq

# Name: the module with its `preprocess_input`.
NETWORKS = {
    "MobileNet": keras.applications.mobilenet,
    "MobileNetV2": keras.applications.mobilenet_v2,
    "MobileNetV3Small": keras.applications.mobilenet_v3,
    "EfficientNetB0": keras.applications.efficientnet,
    "ResNet50": keras.applications.resnet50,
}


def images(folder: Path | None, count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [count, size, size, 3] in 0..255, and labels; noise without a folder."""
    if folder is None:
        rng = np.random.default_rng(seed)
        # Noise with some structure: a random colour, and random brightness of 4x4 blocks.
        small = rng.uniform(0, 255, (count, -(-size // 4), -(-size // 4), 3))
        pixels = np.repeat(np.repeat(small, 4, axis=1), 4, axis=2)[:, :size, :size]
        tint = rng.uniform(0, 255, (count, 1, 1, 3))
        return (0.5 * pixels + 0.5 * tint).astype(np.float32), np.full(count, -1)
    batches = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="int",
        batch_size=32,
        image_size=(size, size),
        crop_to_aspect_ratio=True,
        interpolation="bicubic",
        shuffle=True,
        seed=seed,
    )
    x, y = zip(*batches.take(-(-count // 32)).as_numpy_iterator(), strict=True)
    return np.concatenate(x)[:count], np.concatenate(y)[:count]


def settle(model: keras.Model, x: np.ndarray) -> None:
    """Gives random weights the BatchNormalization statistics of some images.

    Without, random layers shrink their values tenfold each, to nothing after a few dozen.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--model", choices=NETWORKS, default="MobileNetV2")
    parser.add_argument("--weights", help="imagenet, or a .weights.h5 file; random without")
    parser.add_argument("--data", type=Path, help="folder of folders of images")
    parser.add_argument("--size", type=int, default=224, help="pixels a side (default 224)")
    parser.add_argument("--method", choices=("axe", "round"), default="axe")
    parser.add_argument("--calibration", type=int, default=500)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--tile", type=int, help="products that share an accumulator")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    module = NETWORKS[options.model]
    known = "imagenet" if options.weights == "imagenet" else None
    shape = (options.size, options.size, 3)
    model = getattr(module, options.model)(input_shape=shape, weights=known)
    if options.weights and not known:
        model.load_weights(options.weights)

    count = options.calibration + options.test
    x, y = images(options.data, count, options.size, options.seed)
    x = module.preprocess_input(x)
    calibration, x_test = x[: options.calibration], x[options.calibration :]
    if options.weights is None:
        settle(model, calibration)
    expected = model.predict(x_test, verbose=0).argmax(axis=1)
    y_test = expected if options.data is None else y[options.calibration :]

    qmodel = accq.quantize(
        model,
        options.acc_bits,
        method=options.method,
        tile=options.tile,
        calibration_data=calibration,
        input_range=(float(x.min()), float(x.max())),
    )
    accq.round_biases(qmodel)
    print(accq.summary(qmodel))
    rows = [common.float_row(model, float(np.mean(expected == y_test)), "float Keras model")]
    with common.folder(options.output) as folder:
        certificate, more = common.deploy(
            qmodel,
            Path(folder) / options.model.lower(),
            x_test,
            lambda outputs: common.right(outputs, y_test),
        )
    rows += more
    heading = "agreement" if options.data is None else "top-1 accuracy"
    print(f"\n{certificate}\n\n{common.table(rows, heading)}")
    if options.data is None:
        print("\nThe images were noise: the column says how often files and float network agree.")
    if options.figure:
        weights = options.weights or "random weights"
        title = f"{options.model}, {weights}, {options.size}x{options.size}, P = {options.acc_bits}"
        common.figure(options.figure, title, certificate.ops, rows)


if __name__ == "__main__":
    main()

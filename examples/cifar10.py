"""CIFAR-10 on ResNet-8, All-CNN-C or a small MobileNet: train for 16 bits, convert, prove, test.

    python examples/cifar10.py --checkpoint resnet8_cifar10.h5 --data cifar10.npz
    python examples/cifar10.py --network all_cnn_c --data cifar10.npz --method axe --epochs 0
    python examples/cifar10.py --network mobilenet --data cifar10.npz --float-epochs 30

`--data` is an .npz file with x_train, y_train, x_test, y_test; nothing is downloaded. It is written
by `numpy.savez` from what `keras.datasets.cifar10.load_data()` returns, for example. Without
`--checkpoint` the float network is trained first. The last images of the training set are
held out for validation; the test images are read once, at the end. Everything printed is also
written to `results.json` in the output folder, beside the model, its files and its certificate.
The widths M = N = 8 and what they do to layers with many inputs:

    python examples/cifar10.py --weight-bits 8 --input-bits 8 --epochs 0 ...
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np
from networks import all_cnn_c, mobilenet, resnet8

import keras_accq as accq

NETWORKS = {"resnet8": resnet8, "all_cnn_c": all_cnn_c, "mobilenet": mobilenet}


def load_data(path: Path):
    """uint8 images and labels: ((x_train, y_train), (x_test, y_test))."""
    with np.load(path) as arrays:
        x, y, x_test, y_test = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    return (x, y.reshape(-1)), (x_test, y_test.reshape(-1))


class Augmented(keras.utils.PyDataset):
    """Shuffled batches, flipped at random and shifted by up to four pixels."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch: int, seed: int) -> None:
        super().__init__()
        self.x = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
        self.y, self.batch = y, batch
        self.random = np.random.default_rng(seed)
        self.order = self.random.permutation(len(y))

    def __len__(self) -> int:
        return len(self.y) // self.batch

    def __getitem__(self, index: int):
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        top, left = self.random.integers(0, 9, (2, len(rows), 1))
        pixels = np.arange(32)
        columns = np.where(
            self.random.random((len(rows), 1)) < 0.5, left + pixels, left + pixels[::-1]
        )
        images = self.x[rows[:, None, None], (top + pixels)[:, :, None], columns[:, None, :]]
        return images.astype(np.float32), self.y[rows]

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(len(self.y))


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_train_begin(self, logs=None) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.seconds.append(round(time.perf_counter() - self.start, 1))


@dataclasses.dataclass
class Recipe:
    """AdamW with one epoch of warm-up to the learning rate, then cosine decay."""

    rate: float
    decay: float
    epochs: int

    def optimizer(self, batches: int) -> keras.optimizers.Optimizer:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, (self.epochs - 1) * batches),
            warmup_target=self.rate,
            warmup_steps=batches,
        )
        return keras.optimizers.AdamW(rate, weight_decay=self.decay)


def train(model: keras.Model, data, options: argparse.Namespace, recipe: Recipe) -> dict:
    """Trains the model; what happened, for the results."""
    (x, y), validation = data
    batches = Augmented(x, y, options.batch_size, options.seed)
    optimizer = recipe.optimizer(len(batches))
    if any(layer.name.endswith("_quantizer") for layer in model.layers):
        accq.exclude_from_weight_decay(optimizer, model)
    compile_for_training(model, optimizer)
    before = accuracy(model, *validation)
    times = EpochTimes()
    history = model.fit(
        batches,
        epochs=recipe.epochs,
        validation_data=(validation[0].astype(np.float32), validation[1]),
        callbacks=[times],
        verbose=2,
    )
    after = [round(float(value), 4) for value in history.history.get("val_accuracy", [])]
    return {"validation_before": before, "validation": after, "epoch_seconds": times.seconds}


def compile_for_training(model: keras.Model, optimizer) -> None:
    last = model.layers[-1]
    probabilities = isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    model.compile(optimizer, loss, metrics=["accuracy"])


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    predictions = model.predict(x.astype(np.float32), batch_size=250, verbose=0)
    return float(np.mean(predictions.argmax(axis=1) == y))


def clone(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def float_model(options: argparse.Namespace, data, results: dict) -> keras.Model:
    """The checkpoint, or the network trained from scratch."""
    if options.checkpoint is not None:
        return keras.models.load_model(options.checkpoint, compile=False)
    model = NETWORKS[options.network]()
    print(f"Training {options.network} ({model.count_params()} parameters) in float")
    recipe = Recipe(options.float_learning_rate, options.float_weight_decay, options.float_epochs)
    results["float_training"] = train(model, data, options, recipe)
    model.save(options.output / "float.keras")
    return model


def run(options: argparse.Namespace) -> dict:
    (x, y), test = load_data(options.data)
    split = len(x) - options.validation
    data = (x[:split], y[:split]), (x[split:], y[split:])
    results: dict = {"options": {k: str(v) for k, v in vars(options).items()}}
    keras.utils.set_random_seed(options.seed)
    model = float_model(options, data, results)
    models = {"float": model}

    random = np.random.default_rng(options.seed)
    calibration = data[0][0][random.choice(split, options.calibration, replace=False)]
    qmodel = accq.quantize(
        model,
        options.acc_bits,
        method=options.method,
        weight_bits=options.weight_bits,
        input_bits=options.input_bits,
        tile=options.tile,
        exclude=options.exclude if options.exclude == "first_last" else options.exclude.split(),
        calibration_data=calibration.astype(np.float32),
        input_range=(0, 255),
    )
    print(accq.summary(qmodel))
    recipe = Recipe(options.learning_rate, options.weight_decay, options.epochs)
    results["quantized_training"] = train(qmodel, data, options, recipe)
    accq.round_biases(qmodel)  # so that it predicts exactly what its file will
    summary = accq.summary(qmodel)
    print(summary)
    results["layers"] = [dataclasses.asdict(layer) for layer in summary.layers]
    models["quantized"] = qmodel
    qmodel.save(options.output / "quantized.keras")
    if options.float_finetune:
        models["float fine-tuned"] = clone(model)
        results["float_finetuning"] = train(models["float fine-tuned"], data, options, recipe)

    certificate = accq.convert(qmodel, options.output / "model.tflite")
    print(certificate)
    (options.output / "certificate.json").write_text(certificate.to_json())
    results["verdict"] = certificate.verdict
    results["certified_ops"] = len(certificate.ops)

    # Only now are the test images looked at.
    rows = [common.float_row(m, accuracy(m, *test), name) for name, m in models.items()]
    images, labels = test[0].astype(np.float32), test[1]
    _, measured = common.deploy(
        qmodel, options.output / "float_input", images, lambda z: common.right(z, labels)
    )
    rows += measured
    results["test"] = [dataclasses.asdict(row) for row in rows]
    print(f"\n{common.table(rows)}")
    if options.figure:
        title = f"CIFAR-10, {model.name}, P = {options.acc_bits}"
        common.figure(options.figure, title, certificate.ops, rows)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--network", choices=NETWORKS, default="resnet8", help="without --checkpoint")
    add("--checkpoint", type=Path, help="float Keras model (.h5 or .keras) for pixels in 0..255")
    add("--data", type=Path, required=True, help=".npz file")
    add("--tile", type=int, help="products that share an accumulator (default: all)")
    add("--weight-bits", type=int, help="M of all layers (default: the fill rule's choice)")
    add("--input-bits", type=int, help="N of all layers (default: the fill rule's choice)")
    add("--exclude", default="", help="first_last, or layer names or patterns, by spaces")
    add("--method", default="a2q")
    add("--epochs", type=int, default=20, help="after quantization")
    add("--float-epochs", type=int, default=30, help="without --checkpoint")
    add("--float-finetune", action="store_true", help="train float on as long, to compare")
    add("--float-learning-rate", type=float, default=4e-3)
    add("--float-weight-decay", type=float, default=5e-3)
    add("--learning-rate", type=float, default=5e-4, help="after quantization")
    add("--weight-decay", type=float, default=1e-5, help="after quantization")
    add("--batch-size", type=int, default=128)
    add("--validation", type=int, default=5000, help="training images held out")
    add("--calibration", type=int, default=1000, help="training images to measure ranges on")
    parser.set_defaults(output=Path("cifar10_output"))
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    results = run(options)
    (options.output / "results.json").write_text(json.dumps(results, indent=1, default=str))


if __name__ == "__main__":
    main()

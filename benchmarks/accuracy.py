"""CIFAR-10 accuracy of methods over accumulator widths and seeds, trained on or not.

    python benchmarks/accuracy.py --checkpoint resnet8_cifar10.h5 --data cifar10.npz \
        --methods a2q a2q+ --acc-bits 16 14 12 --seeds 0 1 2 --epochs 3 --output accuracy.jsonl

Each combination is one line of the output file, written when it is done; a combination that the
file has is not run again. `float` as a method trains the float network on in the same way. Nothing
is chosen here, so the test images are read once for each combination, at its end: by the quantized
Keras model with biases rounded as its file's are, which predicts what the file does. The validation
images are the last of the training set; a checkpoint may have been trained on them.
"""

import argparse
import itertools
import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np

import keras_accq as accq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import cifar10 as example


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="float Keras model for pixels in 0..255")
    add("--data", type=Path, required=True, help="CIFAR-10, as examples/cifar10.py takes it")
    add("--methods", nargs="+", default=["a2q", "a2q+"])
    add("--acc-bits", type=int, nargs="+", default=[16])
    add("--tile", type=int, help="products that share an accumulator (default: all)")
    add("--exclude", default=(), help="first_last, or a layer name or pattern")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--epochs", type=int, default=3)
    add("--learning-rate", type=float, default=1e-3)
    add("--weight-decay", type=float, default=1e-5)
    add("--batch-size", type=int, default=128)
    add("--validation", type=int, default=5000)
    add("--calibration", type=int, default=1000)
    add("--output", type=Path, default=Path("accuracy.jsonl"))
    options = parser.parse_args()
    combinations = [
        {
            "network": options.checkpoint.stem,
            "method": method,
            # Training the float network on has no accumulator; once for each seed is enough.
            "acc_bits": None if method == "float" else bits,
            "tile": options.tile,
            "exclude": options.exclude or None,
            "seed": seed,
            "epochs": options.epochs,
            "learning_rate": options.learning_rate,
        }
        for method, bits, seed in itertools.product(
            options.methods, options.acc_bits, options.seeds
        )
        if method != "float" or bits == options.acc_bits[0]
    ]
    done = read(options.output)
    (x, y), test = example.load_data(options.data)
    split = len(x) - options.validation
    data = (x[:split], y[:split]), (x[split:], y[split:])
    for combination in combinations:
        if any(combination.items() <= line.items() for line in done):
            continue
        line = combination | measure(combination, options, data, test)
        done.append(line)
        with options.output.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    print(table([line for line in done if any(c.items() <= line.items() for c in combinations)]))
    return 0


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(combination: dict, options: argparse.Namespace, data, test) -> dict:
    """Quantizes, trains and tests; what came of it."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(combination["seed"])
    options.seed = combination["seed"]
    model = keras.models.load_model(options.checkpoint, compile=False)
    found = {}
    if combination["method"] != "float":
        try:
            model = quantize(model, combination, options, data[0][0])
        except accq.BudgetError as error:
            return {"error": str(error)}
        found["widths"] = {
            layer.name: [layer.input_bits, layer.weight_bits, round(float(layer.zeros), 3)]
            for layer in accq.summary(model).layers
        }
    found["validation_before"] = example.accuracy(model, *data[1])
    if combination["epochs"]:
        recipe = example.Recipe(options.learning_rate, options.weight_decay, options.epochs)
        found |= example.train(model, data, options, recipe)
    if combination["method"] != "float":
        accq.round_biases(model)
    return found | {"test": example.accuracy(model, *test)}


def quantize(model: keras.Model, combination: dict, options: argparse.Namespace, images):
    random = np.random.default_rng(combination["seed"])
    chosen = images[random.choice(len(images), options.calibration, replace=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that start with many zeros: it is reported
        return accq.quantize(
            model,
            combination["acc_bits"],
            method=combination["method"],
            tile=combination["tile"],
            exclude=combination["exclude"] or (),
            calibration_data=chosen.astype(np.float32),
            input_range=(0, 255),
        )


def table(lines: list[dict]) -> str:
    """Mean test accuracy and the seeds' spread, by method and accumulator width."""
    by_case = defaultdict(list)
    for line in lines:
        by_case[line["method"], line["acc_bits"]].append(line.get("test"))
    rows = [f"{'method':14} {'P':>4} {'seeds':>5} {'mean test':>10} {'least':>8} {'most':>8}"]
    for (method, bits), values in by_case.items():
        known = [value for value in values if value is not None]
        figures = (
            f"{np.mean(known):10.2%} {min(known):8.2%} {max(known):8.2%}"
            if known
            else "    no budget"
        )
        rows.append(f"{method:14} {bits or '-':>4} {len(known):5} {figures}")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

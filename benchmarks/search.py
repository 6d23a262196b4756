"""De Bruin's search on a float CIFAR-10 network: the widths it finds, and the accuracy with them.

    python benchmarks/search.py --checkpoint resnet8_cifar10.h5 --data cifar10.npz --acc-bits 16

Candidates are compared by agreement with the float network on the calibration images, the first of
the training set, or by `--judge accuracy` on the validation images, the last of it. The test images
are read only with `--test`, once, at the end. Models are run with their biases rounded as their
files' are, so that they predict what the files do.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
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
    add("--acc-bits", type=int, default=16)
    add("--scheme", choices=("fixed_point", "free"), default="fixed_point")
    add("--bound", choices=("exact", "type"), default="exact")
    add("--tile", type=int, help="products that share an accumulator (default: all)")
    add("--exclude", default=(), help="first_last, or a layer name or pattern")
    add("--judge", choices=("agreement", "accuracy"), default="agreement")
    add("--refine", action="store_true")
    add("--calibration", type=int, default=1000)
    add("--validation", type=int, default=5000)
    add("--threads", type=int, default=1)
    add("--search-checkpoint", type=Path, help="where to keep scores, to go on from")
    add("--epochs", type=int, default=0, help="of training afterwards, with the widths fixed")
    add("--learning-rate", type=float, default=1e-3)
    add("--batch-size", type=int, default=128)
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="where to write the recipe")
    add("--test", action="store_true")
    options = parser.parse_args()

    (x, y), test = example.load_data(options.data)
    held_out = x[-options.validation :], y[-options.validation :]
    training = x[: -options.validation], y[: -options.validation]
    model = keras.models.load_model(options.checkpoint, compile=False)

    def judge(network: keras.Model) -> float:
        return example.accuracy(network, *held_out)

    start = time.perf_counter()
    with ThreadPoolExecutor(options.threads) as executor:
        recipe = accq.search(
            model,
            options.acc_bits,
            training[0][: options.calibration].astype(np.float32),
            judge if options.judge == "accuracy" else None,
            scheme=options.scheme,
            bound=options.bound,
            tile=options.tile,
            exclude=options.exclude,
            refine=options.refine,
            executor=executor if options.threads > 1 else None,
            checkpoint=options.search_checkpoint,
            progress=sys.stdout.isatty(),
        )
    seconds = time.perf_counter() - start
    if options.output is not None:
        recipe.save(options.output)
    qmodel = accq.quantize(model, recipe=recipe)
    print(accq.summary(qmodel))
    evaluations = sum(len(scores) for scores in recipe.provenance.metrics["steps"].values())
    print(f"{evaluations} evaluations in {seconds:.0f} s")
    report("validation", model, qmodel, held_out)
    if options.epochs:
        keras.utils.set_random_seed(options.seed)
        settings = example.Recipe(options.learning_rate, 0.0, options.epochs)
        example.train(qmodel, (training, held_out), options, settings)
        report("validation after training", model, qmodel, held_out)
    if options.test:
        report("test", model, qmodel, test)
    return 0


def report(name: str, model: keras.Model, qmodel: keras.Model, images) -> None:
    """Prints both networks' accuracy in percent."""
    accq.round_biases(qmodel)
    floating, quantized = (example.accuracy(network, *images) for network in (model, qmodel))
    print(f"{name}: float {floating:.2%}, quantized {quantized:.2%}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

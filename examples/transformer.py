"""Post-training of a small transformer's Dense layers for 16-bit accumulators (AXE).

    python examples/transformer.py
    python examples/transformer.py --steps 60 --figure transformer.png

A causal transformer (two blocks, 64 channels, 4 heads) learns to continue real text character by
character: that of Python's own help topics, which comes with every Python. `accq.quantize` takes
no attention and no LayerNormalization, so the Dense layers, which carry nearly all weights, are
models of their own inside it: of each block the queries, keys and values, the projection of the
attention's result, and the feed-forward pair, and at the end the layer that gives the characters.
One after the other, in the order of execution, each is calibrated on what reaches it in the network
whose earlier parts are integer already, is replaced, and becomes a certified `.tflite` file.
"""

import pydoc_data.topics
from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np

import keras_accq as accq

LENGTH, WIDTH, HEADS, BLOCKS = 64, 64, 4, 2
CHARACTERS = "\n !\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"


def text() -> np.ndarray:
    """Python's help topics as numbers of CHARACTERS."""
    whole = "\n".join(topic for _, topic in sorted(pydoc_data.topics.topics.items())).lower()
    number = {character: i for i, character in enumerate(CHARACTERS)}
    return np.array([number[c] for c in whole if c in number], np.int32)


def windows(numbers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random stretches, int32 [count, LENGTH + 1]."""
    starts = rng.integers(0, len(numbers) - LENGTH - 1, count)
    return numbers[starts[:, None] + np.arange(LENGTH + 1)]


class Positions(keras.layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, shape) -> None:
        self.vectors = self.add_weight(shape=shape[1:], initializer="uniform", name="vectors")

    def call(self, x):
        return x + self.vectors


class Attention(keras.layers.Layer):
    """Causal attention of HEADS heads over queries, keys and values, concatenated."""

    def call(self, qkv):
        q, k, v = keras.ops.split(
            keras.ops.reshape(qkv, (-1, LENGTH, 3 * HEADS, WIDTH // HEADS)), 3, axis=2
        )
        scores = keras.ops.einsum("bqhd,bkhd->bhqk", q, k) / (WIDTH / HEADS) ** 0.5
        later = 1e9 * (1 - np.tri(LENGTH, dtype=np.float32))
        mixed = keras.ops.einsum("bhqk,bkhd->bqhd", keras.ops.softmax(scores - later), v)
        return keras.ops.reshape(mixed, (-1, LENGTH, WIDTH))

    def compute_output_shape(self, shape):
        return (*shape[:-1], WIDTH)


def parts() -> dict[str, keras.Model]:
    """The Dense layers, as models over [LENGTH, WIDTH] each; in the order of execution."""

    def part(name: str, *layers: keras.layers.Layer) -> keras.Model:
        return keras.Sequential([keras.Input((LENGTH, WIDTH)), *layers], name=name)

    dense = keras.layers.Dense
    made = {}
    for block in range(BLOCKS):
        made[f"qkv{block}"] = part(f"qkv{block}", dense(3 * WIDTH))
        made[f"project{block}"] = part(f"project{block}", dense(WIDTH))
        wide = dense(4 * WIDTH, activation="relu")
        made[f"feedforward{block}"] = part(f"feedforward{block}", wide, dense(WIDTH))
    made["logits"] = part("logits", dense(len(CHARACTERS)))
    return made


def transformer(dense: dict[str, keras.Model], others: dict[str, keras.layers.Layer]):
    """The network, and what reaches each of its parts: {name: tensor}."""

    def layer(name: str, make) -> keras.layers.Layer:
        return others.setdefault(name, make())

    def norm(name: str) -> keras.layers.Layer:
        return layer(name, keras.layers.LayerNormalization)

    reaches = {}

    def run(name: str, x):
        reaches[name] = x
        return dense[name](x)

    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layer("embed", lambda: keras.layers.Embedding(len(CHARACTERS), WIDTH))(inputs)
    x = layer("positions", Positions)(x)
    for block in range(BLOCKS):
        mixed = layer(f"attend{block}", Attention)(run(f"qkv{block}", norm(f"norm{block}a")(x)))
        x = keras.layers.add([x, run(f"project{block}", mixed)])
        x = keras.layers.add([x, run(f"feedforward{block}", norm(f"norm{block}b")(x))])
    return keras.Model(inputs, run("logits", norm("norm")(x))), reaches


def bits_and_accuracy(model: keras.Model, stretches: np.ndarray) -> tuple[float, float]:
    """Bits per character, and how often the likeliest character is the right one."""
    logits = model.predict(stretches[:, :-1], verbose=0).astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, stretches[:, 1:, None], axis=-1)[..., 0]
    bits = (np.log(np.exp(logits).sum(axis=-1)) - chosen).mean() / np.log(2)
    return float(bits), common.right(logits, stretches[:, 1:])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="of 64 stretches (default 1500)")
    parser.add_argument("--calibration", type=int, default=128, help="stretches of 64 characters")
    parser.add_argument("--test", type=int, default=500, help="stretches to test on")
    parser.add_argument("--tile", type=int, help="products that share an accumulator")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    numbers = text()
    split = int(0.9 * len(numbers))
    dense, others = parts(), {}
    model, _ = transformer(dense, others)
    seen = windows(numbers[:split], 64 * options.steps, rng)
    common.train(model, seen[:, :-1], seen[:, 1:], 1, 3e-3, batch=64)

    calibration = windows(numbers[:split], options.calibration, rng)[:, :-1]
    integer, arrived = dict(dense), {}
    for name in dense:
        whole, reaches = transformer(integer, others)
        before = keras.Model(whole.inputs, reaches[name])
        arrived[name] = np.asarray(before(calibration))
        integer[name] = accq.quantize(
            dense[name],
            options.acc_bits,
            method="axe",
            tile=options.tile,
            calibration_data=arrived[name],
        )
        accq.round_biases(integer[name])
        print(f"\n{name}\n{accq.summary(integer[name])}")
    quantized, _ = transformer(integer, others)

    # The end of the text is read here for the first time.
    test = windows(numbers[split:], options.test, rng)
    scored = {
        "float": bits_and_accuracy(model, test),
        "Dense layers integer": bits_and_accuracy(quantized, test),
    }
    rows = [common.float_row(dense[name], None, f"{name}, float") for name in dense]
    ops = []
    with common.folder(options.output) as folder:
        for name, qmodel in integer.items():
            stem = Path(folder) / name
            certificate, more = common.deploy(qmodel, stem, arrived[name][:20], name=name)
            rows += more
            ops += certificate.ops
    print(f"\n{common.table(sorted(rows, key=lambda row: row.name.split(',')[0]), '')}\n")
    for name, (bits, accuracy) in scored.items():
        print(f"{name:22} {bits:.3f} bits per character, {accuracy:.2%} right")
    fits = all(op.fits for op in ops if op.partition is not None)
    print(f"certified: all {len(ops)} dot products" if fits else "NOT all certified")
    if options.figure:
        common.figure(options.figure, f"Transformer, P = {options.acc_bits}", ops, rows)


if __name__ == "__main__":
    main()

"""Post-training of a small transformer for 16-bit accumulators (AXE).

    python examples/transformer.py
    python examples/transformer.py --steps 60 --figure transformer.png

A causal transformer (two blocks, 64 channels, 4 heads) learns to continue real text character by
character: that of Python's own help topics, which comes with every Python. Behind the embedding of
characters and positions, whose vectors are its input, one call of `accq.quantize` takes it whole.
All weights but the embedding's are then in certified dot products: queries, keys, values and the
projection of what attention makes of them, the feed-forward pair, and the layer that gives the
characters. The products of two activations in attention stay int8 built-ins with 32-bit sums, which
the certificate names; LayerNormalization and the masked softmax are computed in float32.
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


def embedding() -> keras.Model:
    """From characters to the vectors that the transformer reads."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(len(CHARACTERS), WIDTH)(inputs)
    return keras.Model(inputs, Positions()(x), name="embedding")


def transformer() -> keras.Model:
    """From vectors, float [LENGTH, WIDTH], to the logits of the next character at each place."""
    layers = keras.layers
    x = inputs = keras.Input((LENGTH, WIDTH))
    for block in range(BLOCKS):
        y = layers.LayerNormalization(name=f"norm{block}a")(x)
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"attention{block}")
        x = layers.Add()([x, attention(y, y, use_causal_mask=True)])
        y = layers.LayerNormalization(name=f"norm{block}b")(x)
        y = layers.Dense(4 * WIDTH, activation="relu", name=f"wide{block}")(y)
        x = layers.Add()([x, layers.Dense(WIDTH, name=f"narrow{block}")(y)])
    x = layers.LayerNormalization(name="norm")(x)
    outputs = layers.Dense(len(CHARACTERS), name="logits")(x)
    return keras.Model(inputs, outputs, name="transformer")


def bits_and_accuracy(logits: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Bits per character, and how often the likeliest character is the right one."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0]
    bits = (np.log(np.exp(logits).sum(axis=-1)) - chosen).mean() / np.log(2)
    return float(bits), common.right(logits, wanted)


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
    embed, model = embedding(), transformer()
    whole = keras.Model(embed.inputs, model(embed.outputs[0]))
    seen = windows(numbers[:split], 64 * options.steps, rng)
    common.train(whole, seen[:, :-1], seen[:, 1:], 1, 3e-3, batch=64)

    calibration = windows(numbers[:split], options.calibration, rng)[:, :-1]
    qmodel = accq.quantize(
        model,
        options.acc_bits,
        method="axe",
        tile=options.tile,
        calibration_data=embed.predict(calibration, verbose=0),
    )
    print(f"\n{accq.summary(qmodel)}\n")

    # The end of the text is read here for the first time.
    test = windows(numbers[split:], options.test, rng)
    vectors, wanted = embed.predict(test[:, :-1], verbose=0), test[:, 1:]
    floats = model.predict(vectors, verbose=0)

    def score(outputs: np.ndarray) -> float:
        return common.right(outputs, wanted)

    with common.folder(options.output) as folder:
        certificate, rows = common.deploy(qmodel, Path(folder) / "transformer", vectors, score)
    rows = [common.float_row(model, score(floats)), *rows]
    print(f"\n{common.table(rows)}\n")
    for name, logits in (("float", floats), ("integer", qmodel.predict(vectors, verbose=0))):
        bits, accuracy = bits_and_accuracy(logits, wanted)
        print(f"{name:8} {bits:.3f} bits per character, {accuracy:.2%} right")
    print(certificate.verdict)
    if options.figure:
        title = f"Transformer, P = {options.acc_bits}"
        common.figure(options.figure, title, certificate.ops, rows)


if __name__ == "__main__":
    main()

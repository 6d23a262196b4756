"""Words in sound, with convolutions along time: Conv1D for 16-bit accumulators.

    python examples/keyword_spotting.py
    python examples/keyword_spotting.py --epochs 2 --train 600 --figure words.png

THE DATA ARE SYNTHETIC, made by this script from a seed: no recordings, and no figure here says
anything about speech. Each of eight "words" is a path of two formants; a speaker draws pitch,
tempo, loudness, onset and formant shifts at random, and noise is added. From the sound (half a
second at 8 kHz) come 20 logarithmic band energies for each of 48 frames, as keyword spotters use
them. So the shapes are those of a real one: 1-D convolutions over [48, 20].
"""

from collections.abc import Sequence
from pathlib import Path

import common
import keras
import numpy as np

import keras_accq as accq

RATE, LENGTH, WINDOW, HOP, BANDS = 8000, 4000, 256, 79, 20
# Formants in Hz at the beginning, the middle and the end of each word.
WORDS = (
    ((300, 300, 700), (2200, 2200, 1200)),
    ((700, 700, 300), (1200, 1200, 2200)),
    ((300, 500, 300), (800, 900, 2200)),
    ((500, 500, 500), (900, 1800, 900)),
    ((700, 400, 700), (1100, 1900, 1100)),
    ((300, 700, 300), (2300, 1300, 2300)),
    ((450, 450, 450), (1700, 1700, 1000)),
    ((450, 450, 450), (1000, 1700, 1700)),
)


def sound(word: int, rng: np.random.Generator) -> np.ndarray:
    """One utterance, float64 [LENGTH]."""
    length = int(rng.uniform(0.5, 0.8) * LENGTH)
    start = int(rng.uniform(0, LENGTH - length))
    place = np.linspace(0, 2, length)
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 220) * (1 + 0.1 * place)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    spoken = np.zeros(length)
    for formant in WORDS[word]:
        centre = np.interp(place, (0, 1, 2), formant) * rng.uniform(0.88, 1.13)
        carrier = np.sin(2 * np.pi * np.cumsum(centre) / RATE + rng.uniform(0, 6))
        spoken += voice * carrier * np.hanning(length)
    noise = np.cumsum(rng.normal(size=LENGTH + 1))
    noise = np.diff(noise - noise.mean()) + 0.3 * rng.normal(size=LENGTH)
    whole = 10 ** rng.uniform(-0.7, 0.1) * noise
    whole[start : start + length] += spoken
    return whole / np.abs(whole).max()


def features(samples: np.ndarray) -> np.ndarray:
    """Logarithmic energies of bands, float32 [frames, BANDS]."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    # Bands as wide as the ear's, nearly: equal steps on the mel scale.
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = (700 * (10 ** (mel / 2595) - 1)) * WINDOW / RATE
    bins = np.arange(power.shape[1])
    rising = (bins - edges[:-2, None]) / np.maximum(np.diff(edges)[:-1, None], 1e-9)
    falling = (edges[2:, None] - bins) / np.maximum(np.diff(edges)[1:, None], 1e-9)
    bank = np.clip(np.minimum(rising, falling), 0, None)
    return np.log(power @ bank.T + 1e-4).astype(np.float32)


def dataset(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [count, frames, BANDS] and the words' numbers."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(WORDS), count)
    return np.stack([features(sound(word, rng)) for word in y]), y


def network(shape: tuple[int, int]) -> keras.Model:
    """Four 1-D convolutions (K = 100, 160, 96, 144), averaged over time; 0.3 MMAC."""
    inputs = x = keras.Input(shape)
    for filters, kernel, strides in ((32, 5, 2), (32, 5, 1), (48, 3, 2), (48, 3, 1)):
        x = keras.layers.Conv1D(filters, kernel, strides, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(len(WORDS))(x), name="words")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=8, help="in float, and after quantization")
    parser.add_argument("--train", type=int, default=4000, help="utterances to train on")
    parser.add_argument("--test", type=int, default=1000, help="utterances to test on")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    x, y = dataset(options.train, seed=options.seed)
    model = network(x.shape[1:])
    common.train(model, x, y, options.epochs, 3e-3)
    qmodel = accq.quantize(model, options.acc_bits, calibration_data=x[:500])
    common.train(qmodel, x, y, options.epochs, 1e-3)
    accq.round_biases(qmodel)
    print(accq.summary(qmodel))

    x_test, y_test = dataset(options.test, seed=options.seed + 1_000_000)
    rows = [common.float_row(model, common.right(model.predict(x_test, verbose=0), y_test))]
    with common.folder(options.output) as folder:
        certificate, more = common.deploy(
            qmodel, Path(folder) / "words", x_test, lambda out: common.right(out, y_test)
        )
    rows += more
    print(f"\n{certificate}\n\n{common.table(rows, 'accuracy, synthetic')}")
    if options.figure:
        title = f"Synthetic words, Conv1D, P = {options.acc_bits}"
        common.figure(options.figure, title, certificate.ops, rows)


if __name__ == "__main__":
    main()

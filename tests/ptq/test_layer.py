import literal_axe
import numpy as np
import pytest

from keras_accq.bounds import fits
from keras_accq.ptq.gram import Gram
from keras_accq.ptq.layer import solve
from keras_accq.quantizers.axe import AXE
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.repair import round_and_repair

PLAIN = {"scale_search": False, "sweeps": 0, "compensate": "all"}


def _data(k=48, channels=5, vectors=300, seed=0, input_bits=6):
    """Correlated inputs after a ReLU, on an N-bit grid and off it, and weights."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(vectors, 12)) @ rng.normal(size=(12, k)) + rng.normal(
        size=(vectors, k)
    )
    floats = np.maximum(mixed, 0)
    step = floats.max() / (2**input_bits - 1)
    quantized = np.rint(floats / step) * step
    return rng.normal(0, 0.2, (k, channels)), quantized, floats


def _moments(weights, quantized, floats):
    gram = Gram(weights[None], cross=True)
    gram.add(quantized[None], floats[None])
    return gram.moments()


def _max_scales(weights, operands):
    return np.abs(weights).max(axis=0)[None] / operands.largest


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("order", ["file", "activation"])
@pytest.mark.parametrize("tile", [None, 16, 20])
@pytest.mark.parametrize("algorithm", ["optq", "gpfq"])
def test_solvers_are_the_papers(algorithm, tile, order, soft):
    operands = Operands(14, 6, 6, tile)
    weights, quantized, floats = _data()
    compensate = "all" if algorithm == "gpfq" else "none"
    options = {**PLAIN, "compensate": compensate}
    moments = _moments(weights, quantized, floats)
    method = AXE(algorithm=algorithm, order=order, soft=soft, **options)
    scales = _max_scales(weights, operands)
    found = solve(weights[None], scales, moments, operands, method)
    positions = np.arange(len(weights))
    if order == "activation":
        positions = np.argsort(-(quantized**2).sum(axis=0), kind="stable")
    for channel, scale in enumerate(scales[0]):
        own = weights[:, channel]
        if algorithm == "optq":
            expected = literal_axe.optq(own, scale, moments.gram[0], positions, operands, soft=soft)
        else:
            expected = literal_axe.gpfq(
                own, scale, quantized, floats, positions, operands, soft=soft
            )
        np.testing.assert_array_equal(found.q[0, :, channel], expected)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("algorithm", ["optq", "gpfq"])
def test_each_step_lowers_the_error(algorithm, tile):
    acc_bits = 13 if tile is None else 11
    operands = Operands(acc_bits, 6, 6, tile)
    weights, quantized, floats = _data(channels=16)
    moments = _moments(weights, quantized, floats)
    scales = _max_scales(weights, operands)

    def total(**options):
        method = AXE(algorithm=algorithm, **{**PLAIN, **options})
        found = solve(weights[None], scales, moments, operands, method)
        q = found.q[0].astype(np.int64)
        assert np.abs(q).max() <= operands.largest
        assert fits(q.T, *operands.input_range, acc_bits, operands.partition).all()
        return found.errors.sum()

    rounded = round_and_repair(
        (weights / scales[0]).T,
        operands.largest,
        operands.input_range,
        acc_bits,
        operands.partition,
    )
    nearest = moments.errors((rounded * scales[0][:, None]).T[None].astype(float)).sum()
    hard, soft = total(soft=False), total()
    descended, searched = total(sweeps=4), total(scale_search=True)
    both = total(scale_search=True, sweeps=4)
    assert soft < hard
    assert soft < nearest
    assert descended < soft
    assert searched < 0.6 * soft
    assert both < searched
    if algorithm == "optq":
        assert both < total(scale_search=True, sweeps=4, compensate="none")


def test_groups_are_solved_as_if_alone():
    operands = Operands(12, 6, 6)
    sets = [_data(k=9, channels=2, seed=seed) for seed in range(3)]
    weights, quantized, floats = (np.stack(part) for part in zip(*sets, strict=True))
    method = AXE(sweeps=2)
    gram = Gram(weights, cross=False)
    gram.add(quantized, floats)
    scales = np.ones((3, 2))
    together = solve(weights, scales, gram.moments(), operands, method)
    for group in range(3):
        alone = solve(
            weights[group][None],
            scales[:1],
            _moments(weights[group], quantized[group], floats[group]),
            operands,
            method,
        )
        np.testing.assert_array_equal(together.q[group], alone.q[0])
        np.testing.assert_allclose(together.scales[group], alone.scales[0], rtol=1e-9)


def test_silence_leaves_weights_rounded():
    operands = Operands(16, 8, 8)
    weights = np.array([[3.0], [-2.2], [0.4]])
    silent = np.zeros((20, 3))
    for algorithm in ("optq", "gpfq"):
        method = AXE(algorithm=algorithm, **PLAIN)
        moments = _moments(weights, silent, silent)
        found = solve(weights[None], np.ones((1, 1)), moments, operands, method)
        np.testing.assert_array_equal(found.q[0, :, 0], [3, -2, 0])

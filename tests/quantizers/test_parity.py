"""The integers that Brevitas makes of the same weights, stored by benchmarks/peers/a2q.py."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands

_STORED = Path(__file__).parent.parent / "data" / "a2q_brevitas.npz"


def _cases():
    with np.load(_STORED) as arrays:
        return [key for key in arrays if key.count("/") == 2]


def _compared(key, dtype):
    """Our integers and theirs."""
    name, shape, widths = key.split("/")
    with np.load(_STORED) as arrays:
        v, log2_scale, log2_norm = (arrays[f"{shape}/{part}"].astype(dtype) for part in "vsg")
        theirs = arrays[key]
    parameters = {"log2_scale": tf.constant(log2_scale), "log2_norm": tf.constant(log2_norm)}
    operands = Operands(*map(int, widths.split(",")))
    q, s = methods.get(name).quantize(tf.constant(v), parameters, operands)
    assert q.dtype == s.dtype == dtype
    return q.numpy(), theirs


@pytest.mark.parametrize("key", _cases())
def test_float64_agrees_exactly(key) -> None:
    ours, theirs = _compared(key, "float64")
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(theirs).max() > 1


@pytest.mark.parametrize("key", _cases())
def test_float32_differs_by_rounding_only(key) -> None:
    ours, theirs = _compared(key, "float32")
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() <= 1e-3


def test_all_three_methods_are_compared() -> None:
    assert {key.split("/")[0] for key in _cases()} == {"a2q", "a2q_unsigned", "a2q+"}

"""Files that claim what their weights do not keep: `verify` must notice one unit too much."""

import numpy as np
import pytest
import tflite_models

import keras_accq as accq
from keras_accq.tflite.options import CONV_2D, encode

# Full-range inputs and a 16-bit accumulator: weights of one sign fit with an L1 norm of 255
# (128 * 255 = 32640) and not with 256 (32768).
_NORM = 255


def _model(weights, **options):
    claim = {"acc_bits": 16, "partition": 1, **options}
    blob = encode(CONV_2D, claim)
    return tflite_models.conv2d(weights, (1, 4, 4, weights.shape[-1]), custom_options=blob)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(3)
    q = rng.multinomial(_NORM, np.full(2 * 2 * 10, 1 / 40), size=3)
    return (q * np.array([[1], [-1], [1]])).reshape(3, 2, 2, 10).astype(np.int8)


def test_the_file_as_written_keeps_its_claim(weights):
    certificate = accq.verify(_model(weights))
    assert certificate.ok
    assert certificate.verdict == "P = 16 monolithic: all 1 op"


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("position", [0, 17, 39])
def test_one_weight_one_unit_larger_is_noticed(weights, channel, position):
    data = bytearray(_model(weights))
    at = bytes(data).index(weights.tobytes()) + channel * 40 + position
    stored = int(np.int8(weights.reshape(3, 40)[channel, position]))
    data[at] = (stored + (-1 if channel == 1 else 1)) & 0xFF
    certificate = accq.verify(bytes(data))
    assert not certificate.ok
    assert certificate.ops[0].worst_channel == channel
    with pytest.raises(accq.BudgetError, match=f"channel {channel}"):
        certificate.raise_if_broken()


@pytest.mark.parametrize("claim", [{"acc_bits": 15}, {"acc_bits": 2}])
def test_a_narrower_accumulator_than_the_weights_keep_is_noticed(weights, claim):
    assert not accq.verify(_model(weights, **claim)).ok


def test_a_wider_input_range_than_the_weights_were_made_for_is_noticed(weights):
    doubled = (weights * 2).astype(np.int8)
    assert accq.verify(_model(doubled, in_min=-64, in_max=63)).ok
    assert not accq.verify(_model(doubled, in_min=-65, in_max=63)).ok

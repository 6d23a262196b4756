import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.transposed import Axis, output_size, phases, tflite_padding

VALID_AXES = st.builds(
    lambda size, kernel, stride, more: Axis(
        size, kernel, stride, (size - 1) * stride + kernel + more % stride, "VALID"
    ),
    *[st.integers(1, 6)] * 3,
    st.integers(0, 5),
)
SAME_AXES = st.builds(
    lambda size, stride, longer, less: Axis(
        size, stride + longer, stride, size * stride - less % stride, "SAME"
    ),
    *[st.integers(1, 6)] * 2,
    st.integers(0, 4),
    st.integers(0, 5),
)


@given(VALID_AXES | SAME_AXES)
def test_sources_are_those_of_scattering_every_input(axis):
    assert axis.problem() is None
    expected = {
        (source * axis.stride + tap - axis.cut, tap): source
        for source in range(axis.size)
        for tap in range(axis.kernel)
    }
    places, in_phase = axis.sources()
    assert places.shape == in_phase.shape == (axis.out, axis.kernel)
    met = {
        (out, tap): int(places[out, tap])
        for out, tap in np.argwhere(in_phase)
        if 0 <= places[out, tap] < axis.size
    }
    assert met == {key: value for key, value in expected.items() if 0 <= key[0] < axis.out}


@given(VALID_AXES | SAME_AXES)
def test_every_output_meets_one_phase(axis):
    for out, taps in enumerate(axis.sources()[1]):
        phase = (out + axis.cut) % axis.stride
        np.testing.assert_array_equal(
            np.flatnonzero(taps), np.arange(phase, axis.kernel, axis.stride)
        )


@given(*[st.integers(1, 6)] * 4, st.integers(1, 3))
def test_phases_share_out_the_kernel(kh, kw, sh, sw, channels):
    found = list(phases((kh, kw), (sh, sw), channels))
    assert len(found) == min(kh, sh) * min(kw, sw)
    together = np.concatenate([phase.places for phase in found])
    assert sorted(together) == list(range(kh * kw * channels))
    for phase in found:
        h, w, _ = np.unravel_index(phase.places, (kh, kw, channels))
        assert len(set(h % sh)) == len(set(w % sw)) == 1
        rows = h.reshape(-1, phase.row)
        assert (rows == rows[:, :1]).all()
        assert (np.diff(rows[:, 0]) == -sh).all()  # the last tap first
        assert (np.diff(w.reshape(-1, phase.row // channels, channels)[:, :, 0]) == -sw).all()


@pytest.mark.parametrize(
    ("axis", "text"),
    [
        (Axis(3, 2, 2, 4, "SAME"), "an output of 4; .* make 5 to 6"),
        (Axis(3, 2, 2, 7, "SAME"), "make 5 to 6"),
        (Axis(3, 3, 2, 6, "VALID"), "an output of 6; 3 inputs, a kernel of 3, stride 2 .* 7 to 8"),
        (Axis(3, 3, 2, 9, "VALID"), "make 7 to 8"),
        (Axis(3, 1, 2, 6, "SAME"), "a kernel of 1, less than its stride of 2"),
    ],
)
def test_problems(axis, text):
    import re

    assert re.search(text, axis.problem())


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "output_padding", "expected"),
    [
        ((3, 3), (2, 2), "same", None, "SAME"),
        ((2, 3), (2, 1), "same", None, "SAME"),
        ((2, 2), (2, 2), "same", None, "VALID"),
        ((1, 2), (2, 2), "same", None, "VALID"),
        ((3, 3), (2, 2), "valid", None, "VALID"),
        ((1, 3), (2, 2), "valid", (1, 0), "VALID"),
    ],
)
def test_padding_gives_the_shape_and_values_that_keras_gives(
    kernel, strides, padding, output_padding, expected
):
    import keras

    assert tflite_padding(kernel, strides, padding, output_padding) == expected
    layer = keras.layers.Conv2DTranspose(
        2, kernel, strides, padding, output_padding=output_padding, use_bias=False
    )
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype(np.float32)
    y = keras.ops.convert_to_numpy(layer(x))
    w = keras.ops.convert_to_numpy(layer.kernel)
    axes = [Axis(x.shape[1 + i], kernel[i], strides[i], y.shape[1 + i], expected) for i in range(2)]
    more = (None, None) if output_padding is None else output_padding
    for axis, each in zip(axes, more, strict=True):
        assert output_size(axis.size, axis.kernel, axis.stride, padding, each) == axis.out
    assert all(axis.problem() is None for axis in axes)
    made = np.zeros(y.shape)
    for row, column in np.ndindex(y.shape[1:3]):
        for a, b in np.ndindex(*kernel):
            places = [axis.sources() for axis in axes]
            if not (places[0][1][row, a] and places[1][1][column, b]):
                continue
            h, v = places[0][0][row, a], places[1][0][column, b]
            if 0 <= h < 4 and 0 <= v < 5:
                made[0, row, column] += w[a, b] @ x[0, h, v]
    np.testing.assert_allclose(y, made, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "strides", "output_padding", "text"),
    [
        ((3, 3), (2, 2), (1, 1), r"output_padding \(1, 1\) with padding 'same'"),
        ((1, 3), (2, 2), None, r"kernel_size \(1, 3\) with strides \(2, 2\)"),
    ],
)
def test_what_tflite_can_not_say(kernel, strides, output_padding, text):
    with pytest.raises(ValueError, match=text):
        tflite_padding(kernel, strides, "same", output_padding)

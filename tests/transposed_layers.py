"""Random transposed convolutions that LiteRT computes as the contract says, for Hypothesis."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def transposed_layers(draw, *, most_channels=9):
    """Arguments of `tflite_models.transpose_conv`, with the input under "x"."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    kernel, size, output_size = [], [], []
    for s in stride:
        k = draw(st.integers(s if padding == "SAME" else 1, 5))
        n = draw(st.integers(1, 6))
        least = (n - 1) * s + (1 if padding == "SAME" else k)
        kernel.append(k)
        size.append(n)
        output_size.append(draw(st.integers(least, least + s - 1)))
    cin, cout = draw(st.integers(1, most_channels)), draw(st.integers(1, most_channels))
    batch = draw(st.integers(1, 3))
    scales = rng.uniform(0.001, 0.02, cout if draw(st.booleans()) else 1).astype(np.float32)
    return {
        "x": rng.integers(-128, 128, (batch, *size, cin)).astype(np.int8),
        "weights": rng.integers(-127, 128, (cout, *kernel, cin)).astype(np.int8),
        "bias": rng.integers(-9000, 9000, cout) if draw(st.booleans()) else None,
        "stride": stride,
        "padding": padding,
        "output_size": tuple(output_size),
        "activation": draw(st.integers(0, 3)),
        "weight_scale": scales,
        "input_scale": float(np.float32(rng.uniform(0.005, 0.1))),
        "input_zero": int(rng.integers(-128, 128)),
        "output_scale": float(np.float32(rng.uniform(0.02, 0.3))),
        "output_zero": int(rng.integers(-128, 128)),
    }

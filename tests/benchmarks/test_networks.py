"""Every layer of the benchmarks' networks, a few pixels and channels of it, in every kernel."""

import sys

import numpy as np
import pytest
from native_build import REPOSITORY
from test_kernels import KINDS, Library, make_layer

if not (REPOSITORY / "benchmarks").is_dir():
    pytest.skip("no checkout", allow_module_level=True)
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from synthetic import NETWORKS, network, random_weights

_KINDS = {"conv": "conv2d", "depthwise": "depthwise_conv2d", "dense": "fully_connected"}


def _names():
    lines = NETWORKS.read_text().splitlines()
    return sorted({line.split()[0] for line in lines if line[:1] != "#"})


@pytest.mark.slow
@pytest.mark.parametrize("name", _names())
def test_kernels_agree_on_every_layer(name, testing_library):
    library, rng = Library(testing_library), np.random.default_rng(0)
    for shape in network(name):
        kind = _KINDS[shape.kind]
        assert kind in KINDS
        depth = 1 if shape.kind == "depthwise" else shape.cin // shape.groups
        channels = min(shape.cout, 72) if shape.groups == 1 and depth > 1 else shape.cout
        k = depth * shape.kernel[0] * shape.kernel[1]
        for weights in ("normal", "constrained", "extreme"):
            rows = random_weights(rng, channels, k, weights)
            multiplier = 0.5 / (1 + np.linalg.norm(rows.astype(float), axis=1))
            q = rows.reshape(channels, *shape.kernel, depth)
            if shape.kind == "depthwise":
                q = np.ascontiguousarray(q[..., 0].transpose(1, 2, 0))
            elif shape.kind == "dense":
                q = q.reshape(channels, shape.cin)
            # An odd number of windows a row, with padding on both sides, where there is room.
            h, w = (
                min(size, taps + outputs * shape.stride)
                for size, taps, outputs in zip(
                    (shape.height, shape.width), shape.kernel, (1, 4), strict=True
                )
            )
            layer = make_layer(
                kind,
                q,
                multiplier=list(multiplier),
                n=1,
                h=h,
                w=w,
                groups=shape.groups,
                stride_h=shape.stride,
                stride_w=shape.stride,
                same_padding=int(shape.padding == "SAME" and kind != "fully_connected"),
                in_zero=-3,
            )
            x = rng.integers(-128, 128, (1, h, w, shape.cin)).astype(np.int8)
            expected, *others = reversed(library.run_each(layer, x))  # the reference is the last
            assert others or sys.platform != "linux"
            assert np.unique(expected).size > 3
            for found in others:
                np.testing.assert_array_equal(found, expected, err_msg=str(shape))

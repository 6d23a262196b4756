"""The C++ kernels from Python: a layer worked out by hand, and the layouts against their table."""

import ctypes
import itertools
import re
from dataclasses import astuple
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq import layouts
from keras_accq.transposed import phases

KINDS = ["conv2d", "depthwise_conv2d", "fully_connected", "transpose_conv"]


class Layer(ctypes.Structure):
    """AccqLayer of tflite_kernels/kernels/testing_api.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in [
                *("kind", "n", "h", "w", "in_channels", "out_channels", "filter_h", "filter_w"),
                *("groups", "depth_multiplier", "stride_h", "stride_w", "dilation_h"),
                *("dilation_w", "same_padding", "in_zero", "out_zero", "in_min", "in_max"),
                *("out_min", "out_max", "out_h", "out_w"),
            ]
        ),
        ("weights", ctypes.POINTER(ctypes.c_int8)),
        ("bias", ctypes.POINTER(ctypes.c_int32)),
        ("multiplier", ctypes.POINTER(ctypes.c_float)),
    ]


class Library:
    def __init__(self, path):
        self._dll = ctypes.CDLL(str(path))
        self._dll.accq_kernel_name.restype = ctypes.c_char_p

    def kernels(self):
        names = map(self._dll.accq_kernel_name, itertools.count())
        return [name.decode() for name in itertools.takewhile(lambda name: name, names)]

    def run(self, kernel, layer, x):
        shape = (ctypes.c_int32 * 4)()
        self._call(self._dll.accq_output_shape, ctypes.byref(layer), shape)
        y = np.empty(tuple(shape), np.int8)
        report = (ctypes.c_int64 * 4)()
        self._call(
            self._dll.accq_run,
            kernel.encode(),
            ctypes.byref(layer),
            x.ctypes.data_as(ctypes.c_void_p),
            y.ctypes.data_as(ctypes.c_void_p),
            report,
        )
        return y

    def run_each(self, layer, x):
        """The outputs of every kernel that takes the layer on this CPU."""
        results = []
        for kernel in self.kernels():
            try:
                results.append(self.run(kernel, layer, x))
            except ValueError as error:
                if not re.search("does not implement|this CPU lacks", str(error)):
                    raise
        return results

    def layout_spills(self, layout, layer):
        figures = (ctypes.c_int64 * 4)()
        self._call(self._dll.accq_layout_spills, layout.encode(), ctypes.byref(layer), figures)
        return tuple(figures)

    def _call(self, function, *arguments):
        error = ctypes.create_string_buffer(500)
        if function(*arguments, error, ctypes.c_size_t(len(error))):
            raise ValueError(error.value.decode())


@pytest.fixture(scope="module")
def library(testing_library):
    return Library(testing_library)


def make_layer(kind, weights, *, bias=None, multiplier=None, **fields):
    """A layer of weights in their file order: OHWI, HWC or OI."""
    if kind in ("conv2d", "transpose_conv"):
        out, fh, fw, depth = weights.shape
        cin = depth * fields.get("groups", 1)
    elif kind == "depthwise_conv2d":
        fh, fw, out = weights.shape
        cin = out
    else:
        (out, cin), fh, fw = weights.shape, 1, 1
    values = {
        **dict.fromkeys(("n", "h", "w", "groups", "depth_multiplier"), 1),
        **dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1),
        **{"in_min": -128, "in_max": 127, "out_min": -128, "out_max": 127},
        **{"kind": KINDS.index(kind), "in_channels": cin, "out_channels": out},
        **{"filter_h": fh, "filter_w": fw},
        **fields,
    }
    layer = Layer(**values)
    layer.arrays = [np.ascontiguousarray(weights)]  # kept alive with the layer
    layer.weights = layer.arrays[0].ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
    if bias is not None:
        layer.arrays.append(np.ascontiguousarray(bias, np.int32))
        layer.bias = layer.arrays[-1].ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    layer.arrays.append(np.ascontiguousarray(multiplier or np.full(out, 0.01), np.float32))
    layer.multiplier = layer.arrays[-1].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return layer


def test_reference_by_hand(library):
    """A 2x2 filter, stride 1, SAME: the odd padding lies behind; ties go to even."""
    layer = make_layer(
        "conv2d",
        np.array([[[[1], [2]], [[-3], [4]]]], np.int8),
        bias=[10],
        multiplier=[0.5],
        h=2,
        w=2,
        same_padding=1,
        in_zero=-1,
        out_zero=5,
        in_min=-4,
        in_max=3,
        out_max=14,
    )
    x = np.array([[[[5], [2]], [[-7], [1]]]], np.int8)  # clamped: 3 2 / -4 1
    # effective bias = 10 + 1 * 4 = 14
    # 3 + 4 + 12 + 4 + 14 = 37 -> 18.5 -> 18 -> 23 -> 14
    # 2 - 2 - 3 - 4 + 14 = 7 -> 3.5 -> 4 -> 9
    # -4 + 2 + 3 - 4 + 14 = 11 -> 5.5 -> 6 -> 11
    # 1 - 2 + 3 - 4 + 14 = 12 -> 6 -> 11
    for y in library.run_each(layer, x):
        assert y.tolist() == [[[[14], [9]], [[11], [11]]]]


def test_transposed_by_hand(library):
    """A 2x1 filter, stride 2 by 3: every second row of a kind, and columns without products."""
    layer = make_layer(
        "transpose_conv",
        np.array([[[[2, -1]], [[3, 5]]]], np.int8),
        bias=[7],
        multiplier=[0.5],
        h=1,
        w=2,
        stride_h=2,
        stride_w=3,
        out_h=2,
        out_w=4,
        in_zero=1,
        out_zero=-5,
        in_min=-2,
    )
    x = np.array(
        [[[[4, 3], [-7, 2]]]], np.int8
    )  # clamped: 4 3 / -2 2, less the zero point 3 2 / -3 1
    # 2 * 3 - 2 + 7 = 11 -> 5.5 -> 6; -6 - 1 + 7 = 0
    # 9 + 10 + 7 = 26 -> 13; -9 + 5 + 7 = 3 -> 1.5 -> 2; 7 -> 3.5 -> 4
    expected = [[[1], [-1], [-1], [-5]], [[8], [-1], [-1], [-3]]]
    for y in library.run_each(layer, x):
        assert y.tolist() == [expected]


def test_unknown_kernel_and_layout(library):
    layer = make_layer("fully_connected", np.ones((2, 3), np.int8))
    with pytest.raises(
        ValueError, match=r"there is no kernel 'fast'; expected one of: .*reference"
    ):
        library.run("fast", layer, np.zeros((1, 3), np.int8))
    with pytest.raises(ValueError, match="expected the layout"):
        library.layout_spills("k8", layer)


LAYOUTS = {
    "conv2d": ("avx2_k4n16", "neon_dot8", "portable_dot8"),
    "depthwise_conv2d": ("avx2_dw", "neon_dw"),
    "fully_connected": ("avx2_k4n16", "neon_dot8", "portable_dot8"),
}

RANGES = [(-128, 127), (-8, 7), (5, 90), (-31, 90), (7, 7)]


@pytest.mark.parametrize("scale", [1, 20, 45, 100])
@pytest.mark.parametrize("in_range", RANGES)
def test_layouts_match_their_table(library, scale, in_range):
    rng = np.random.default_rng(scale)

    def weights(*shape):
        return np.clip(rng.normal(0, scale, shape).round(), -128, 127).astype(np.int8)

    def check(kind, w, groups=1, run=1, **fields):
        layer = make_layer(kind, w, groups=groups, in_min=in_range[0], in_max=in_range[1], **fields)
        q = w.reshape(-1, w.shape[-1]).T if kind == "depthwise_conv2d" else w.reshape(len(w), -1)
        found = layouts.spills(
            q, LAYOUTS[kind], groups=groups, run=run, in_min=in_range[0], in_max=in_range[1]
        )
        for layout, figures in found.items():
            assert library.layout_spills(layout, layer) == astuple(figures)

    check("conv2d", weights(35, 3, 3, 5), run=15)
    check("conv2d", weights(16, 3, 2, 5), run=5, dilation_w=2)
    check("conv2d", weights(40, 3, 3, 6), groups=2, run=6)
    check("fully_connected", weights(50, 33), run=33)
    check("fully_connected", weights(5, 2200), run=2200)  # more steps than are sorted together
    for shape, strides in [
        ((20, 3, 5, 6), (2, 2)),
        ((16, 4, 1, 9), (3, 2)),
        ((5, 3, 3, 4), (1, 1)),
    ]:
        w = weights(*shape)
        q, limits = w.reshape(len(w), -1), {"in_min": in_range[0], "in_max": in_range[1]}
        parts = [
            layouts.spills(q[:, p.places], ["avx2_k4n16"], groups=1, run=p.row, **limits)
            for p in phases(shape[1:3], strides, shape[3])
        ]
        layer = make_layer("transpose_conv", w, stride_h=strides[0], stride_w=strides[1], **limits)
        total = reduce(add, (part["avx2_k4n16"] for part in parts))
        assert library.layout_spills("avx2_k4n16", layer) == astuple(total)
    for channels in (3, 16, 33, 70):
        check("depthwise_conv2d", weights(3, 3, channels))


@pytest.mark.parametrize("in_range", [(-8, 7), (2, 7), (-3, 0)])
@pytest.mark.parametrize("heaviest", [0, 1, 7])
def test_the_layout_in_bytes_matches_its_table(library, heaviest, in_range):
    rng = np.random.default_rng(heaviest)
    limits = {"in_min": in_range[0], "in_max": in_range[1]}
    for shape, groups, dilation_w in (
        ((35, 3, 3, 5), 1, 1),
        ((16, 3, 2, 5), 1, 2),
        ((40, 3, 3, 6), 2, 1),
        ((5, 1, 1, 3100), 1, 1),  # more steps than are sorted together
    ):
        # Few of many, whose sums would leave 16 bits.
        w = rng.integers(-heaviest, heaviest + 1, shape) * (rng.random(shape) < 300 / shape[3])
        layer = make_layer(
            "conv2d", w.astype(np.int8), groups=groups, dilation_w=dilation_w, **limits
        )
        run = shape[3] * (shape[2] if groups == dilation_w == 1 else 1)
        q = w.astype(np.int8).reshape(len(w), -1)
        figures = layouts.spills(q, ["neon_dot16"], groups=groups, run=run, **limits)["neon_dot16"]
        assert library.layout_spills("neon_dot16", layer) == astuple(figures)


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.integers(-128, 127), min_size=1, max_size=3),
    count=st.integers(1, 600),
    in_range=st.tuples(st.integers(-20, 20), st.integers(-20, 20)).map(sorted),
)
def test_the_library_sums_in_bytes_what_the_table_does(library, weights, count, in_range):
    w = np.resize(np.array(weights, np.int8), (1, count))
    layer = make_layer("fully_connected", w, in_min=in_range[0], in_max=in_range[1])
    if layouts.fits_bytes(w, *in_range):
        library.layout_spills("neon_dot16", layer)
    else:
        with pytest.raises(ValueError, match="neon_dot16 does not take these weights"):
            library.layout_spills("neon_dot16", layer)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS[:3]),
    filters=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    depth=st.integers(1, 21),
    channels=st.integers(1, 36),
    groups=st.integers(1, 3),
    dilation_w=st.integers(1, 2),
    values=st.lists(st.integers(-128, 127), min_size=1, max_size=4),
    in_range=st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(sorted),
)
def test_layouts_match_their_table_for_few_values(
    library, seed, kind, filters, depth, channels, groups, dilation_w, values, in_range
):
    """Weights of few values, -128 and the heaviest pairs among them, sit on the limits."""
    if kind != "conv2d":
        groups = dilation_w = 1
    shape = {
        "conv2d": (channels * groups, *filters, depth),
        "depthwise_conv2d": (*filters, channels),
        "fully_connected": (channels, depth),
    }[kind]
    w = np.random.default_rng(seed).choice(np.array(values, np.int8), shape)
    layer = make_layer(
        kind, w, groups=groups, dilation_w=dilation_w, in_min=in_range[0], in_max=in_range[1]
    )
    q = w.reshape(-1, channels).T if kind == "depthwise_conv2d" else w.reshape(len(w), -1)
    row = filters[1] if kind == "conv2d" and groups == dilation_w == 1 else 1
    found = layouts.spills(
        q, LAYOUTS[kind], groups=groups, run=row * depth, in_min=in_range[0], in_max=in_range[1]
    )
    for layout, figures in found.items():
        assert library.layout_spills(layout, layer) == astuple(figures)

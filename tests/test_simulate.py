"""Simulated accumulators on files: exact equals LiteRT, and overflows exactly where predicted."""

import itertools

import numpy as np
import pytest
import tflite_models as models
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transposed_layers import transposed_layers
from worst_case import worst_case_input, worst_case_of_phase, worst_case_patch

import keras_accq as accq
from keras_accq.bounds import Partition
from keras_accq.tflite import options
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load


def random_network(rng):
    """Grouped, dilated and strided convolutions, a depthwise multiplier, ADD and a dense layer."""
    graph = models.GraphBuilder()
    x = graph.tensor("input", [1, 9, 8, 4], scale=0.05, zero_point=int(rng.integers(-128, 128)))

    def drawn(*shape):
        return rng.integers(-127, 128, shape)

    def arithmetic(channels):
        return {
            "bias": rng.integers(-3000, 3000, channels),
            "weight_scale": rng.uniform(0.002, 0.02, channels),
            "output_scale": float(rng.uniform(0.1, 0.5)),
            "output_zero": int(rng.integers(-128, 128)),
            "activation": int(rng.integers(0, 4)),
        }

    y = models.add_conv2d(graph, x, drawn(6, 3, 3, 2), name="grouped", **arithmetic(6))
    y = models.add_depthwise_conv2d(
        graph, y, drawn(1, 3, 2, 12), name="dw", stride=(2, 2), **arithmetic(12)
    )
    a = models.add_conv2d(graph, y, drawn(5, 1, 1, 12), name="left", **arithmetic(5))
    b = models.add_conv2d(
        graph, y, drawn(5, 2, 3, 12), name="right", dilation=(2, 1), **arithmetic(5)
    )
    y = models.add_add(graph, a, b, output_scale=0.4, output_zero=3)
    y = models.add_reshape(graph, y, [1, -1])
    features = graph.subgraph.tensors[y].shape[1]
    dense = arithmetic(7)
    dense["weight_scale"] = 0.003
    y = models.add_fully_connected(graph, y, drawn(7, features), name="dense", **dense)
    return graph.build([x], [y])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_exact_is_litert_byte_for_byte(seed, custom):
    rng = np.random.default_rng(seed)
    file = random_network(rng)
    given_file = accq.rewrite(file).model if custom else file
    x = rng.integers(-128, 128, (3, 9, 8, 4)).astype(np.int8)
    result = accq.simulate(given_file, x)
    assert [op.name for op in result.ops] == ["grouped", "dw", "left", "right", "dense"]
    assert all(len(op.recorded) == 3 for op in result.ops)
    assert result.differences == 0
    np.testing.assert_array_equal(result.outputs[0], result.ops[-1].recorded)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_clamped_operands_are_recorded_after_the_clamp(seed):
    rng = np.random.default_rng(seed)
    file = accq.rewrite(models.residual(rng)).model
    (second,) = (op for op in quantized_ops(load(file)) if (op.in_min, op.in_max) == (-8, 7))
    x = rng.integers(-128, 128, (4, 6, 6, 4)).astype(np.int8)
    result = accq.simulate(file, x, acc_bits=32)
    assert result.differences == 0
    # 8 * 127 * 36 < 2^16: 17 bits are enough with the clamp alone.
    narrow = accq.simulate(file, x, acc_bits=17)
    assert {op.name: op.overflows.sum() for op in narrow.ops}[second.name] == 0


def one_conv(q, *, claim=None, **arguments):
    """One output per channel: a VALID convolution over an input as large as its kernel."""
    q = np.asarray(q, np.int8)
    blob = None if claim is None else options.encode(options.CONV_2D, {"padding": 1, **claim})
    # A multiplier of 2^-8 keeps 16-bit sums apart in 8 bits.
    arguments = {"input_scale": 1.0, "weight_scale": 1.0, "output_scale": 256.0, **arguments}
    # Stock LiteRT refuses an int8 convolution without a bias, and crashes on a depthwise one.
    arguments.setdefault("bias", np.zeros(len(q)))
    return models.conv2d(q, (1, *q.shape[1:]), padding="VALID", custom_options=blob, **arguments)


CLAIM = {"partition": options.MONOLITHIC}


class TestWorstCase:
    # 255 weights' worth of -128 and one of 127: 128 * 255 + 127 = 32767, the very end.
    AT = np.array([-100, -100, -55, 1]).reshape(1, 1, 1, 4)
    # 128 * 256 = 32768, one beyond.
    BEYOND = np.array([-100, -100, -56, 0]).reshape(1, 1, 1, 4)

    @pytest.mark.parametrize("arithmetic", ["exact", "wrap", "saturate"])
    def test_the_bound_is_reached_and_holds(self, arithmetic):
        file = one_conv(self.AT, claim=CLAIM)
        (op,) = quantized_ops(load(file))
        assert accq.verify(file).ops[0].worst_case == (32767,)
        x = worst_case_input(op, 0, (1, 1, 1, 4))
        assert x.ravel().tolist() == [-128, -128, -128, 127]
        result = accq.simulate(file, x, arithmetic=arithmetic)
        assert result.overflows == result.differences == 0
        assert result.ops[0].output.item() == 127

    def test_one_beyond_overflows_by_exactly_one(self):
        file = one_conv(self.BEYOND, claim=CLAIM)
        certificate = accq.verify(file)
        assert not certificate.ok
        assert certificate.ops[0].worst_case == (32768,)
        (op,) = quantized_ops(load(file))
        x = worst_case_input(op, 0, (1, 1, 1, 4))
        for arithmetic, output in (("exact", 127), ("wrap", -128), ("saturate", 127)):
            result = accq.simulate(file, x, arithmetic=arithmetic)
            assert result.ops[0].overflows.tolist() == [1]
            assert result.ops[0].output.item() == output
        # 17 bits have room, and so does any other input.
        assert accq.simulate(file, x, acc_bits=17).overflows == 0
        x[0, 0, 0, 2] += 1
        assert accq.simulate(file, x).overflows == 0

    def test_the_smallest_sum_has_one_more(self):
        # -32768 is in the range of 16 bits; the certificate still refuses it.
        file = one_conv(-self.BEYOND // 2 * 2, claim=CLAIM)
        (op,) = quantized_ops(load(file))
        x = worst_case_input(op, 0, (1, 1, 1, 4), sign=-1)
        assert accq.simulate(file, x, arithmetic="wrap").overflows == 0
        assert not accq.verify(file).ok

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from(["conv", "grouped", "dw", "dense"]))
    def test_the_least_width_holds_and_one_bit_less_overflows(self, seed, kind):
        rng = np.random.default_rng(seed)
        if kind == "dense":
            shape = (1, 11)
            file = models.fully_connected(rng.integers(-90, 91, (4, 11)), shape, bias=np.zeros(4))
        elif kind == "dw":
            shape = (1, 5, 5, 3)
            q = rng.integers(-90, 91, (1, 3, 3, 6))
            file = models.depthwise_conv2d(q, shape, padding="VALID", bias=np.zeros(6))
        else:
            shape = (1, 5, 5, 4)
            cin = 2 if kind == "grouped" else 4
            q = rng.integers(-90, 91, (6, 3, 3, cin))
            file = models.conv2d(q, shape, padding="VALID", bias=np.zeros(6))
        (op,) = quantized_ops(load(file))
        (certified,) = accq.verify(file).ops
        # The largest sum, or its mirror image, reaches the worst case to the unit.
        channel, least = certified.worst_channel, certified.least_acc_bits
        # The negative end of an accumulator is one further than the certificate counts.
        assume(certified.worst_case[channel] != 2 ** (least - 2))
        both = np.concatenate([worst_case_input(op, channel, shape, sign=s) for s in (1, -1)])
        assert accq.simulate(file, both, acc_bits=least).overflows == 0
        narrow = accq.simulate(file, both, acc_bits=least - 1).ops[0]
        assert narrow.overflows[channel] > 0


class TestTransposed:
    @settings(max_examples=40, deadline=None)
    @given(transposed_layers())
    def test_exact_is_what_litert_computes(self, layer):
        layer = dict(layer)
        x = layer.pop("x")
        file = models.transpose_conv(layer.pop("weights"), (1, *x.shape[1:]), **layer)
        result = accq.simulate(file, x)
        assert result.differences == 0
        assert result.ops[0].kind == "transpose_conv"

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        *[st.integers(1, 5)] * 2,
        *[st.integers(1, 3)] * 2,
        st.sampled_from([None, {"partition": options.RUNS, "partition_size": 3}]),
    )
    def test_phases_reach_their_worst_case_and_no_further(self, seed, kh, kw, sh, sw, claim):
        rng = np.random.default_rng(seed)
        q = rng.integers(-90, 91, (3, kh, kw, 2)).astype(np.int8)
        low, high = sorted(rng.integers(-128, 128, 2).tolist())
        zero = int(rng.integers(low, high + 1))
        values = {"padding": 1, "stride_h": sh, "stride_w": sw, "in_min": low, "in_max": high}
        file = models.transpose_conv(
            q,
            (1, 6, 6, 2),
            stride=(sh, sw),
            padding="VALID",
            input_zero=zero,
            custom_options=options.encode(options.TRANSPOSE_CONV, values | (claim or {})),
        )
        (op,) = quantized_ops(load(file))
        (certified,) = accq.verify(file).ops
        phases = certified.phase_worst_case
        assert all(p <= w for p, w in zip(phases, certified.worst_case, strict=True))
        if (sh, sw) == (1, 1):
            assert phases == certified.worst_case
        reached = 0
        for phase in op.phases():
            for channel, sign in itertools.product(range(3), (1, -1)):
                x = worst_case_of_phase(op, channel, phase, sign=sign)
                patch = worst_case_patch(op, channel, sign=sign)[phase.places]
                total = int(patch.astype(np.int64) @ q.reshape(3, -1)[channel, phase.places])
                cells = (op.partition or Partition()).cells(q[0].size)[phase.places]
                products = patch.astype(np.int64) * q.reshape(3, -1)[channel, phase.places]
                largest = max(abs(products[cells == cell].sum()) for cell in set(cells))
                assert largest <= phases[channel]
                reached = max(reached, largest)
                # The input does make that sum: one bit less than it needs overflows.
                if op.partition is None and low <= 0 <= high and abs(total) > 1:
                    bits = total.bit_length() + 1 if total > 0 else (-total - 1).bit_length() + 1
                    if bits >= 3:
                        (narrow,) = accq.simulate(file, x, acc_bits=bits - 1).ops
                        assert narrow.overflows[channel] > 0
        assert reached == max(phases)
        least = certified.phase_least_acc_bits
        x = rng.integers(-128, 128, (2, 6, 6, 2)).astype(np.int8)
        assert accq.simulate(file, x, acc_bits=least, partition=op.partition).overflows == 0

    def test_the_whole_kernel_is_one_phase_without_strides(self):
        claim = {**CLAIM, "padding": 1}
        for q, ok in ((TestWorstCase.AT, True), (TestWorstCase.BEYOND, False)):
            file = models.transpose_conv(
                np.reshape(q, (1, 2, 2, 1)),
                (1, 2, 2, 1),
                padding="VALID",
                custom_options=options.encode(options.TRANSPOSE_CONV, claim),
            )
            certificate = accq.verify(file)
            assert certificate.ok == ok
            assert certificate.ops[0].phase_worst_case == certificate.ops[0].worst_case
            (op,) = quantized_ops(load(file))
            x = worst_case_of_phase(op, 0, op.phases()[0])
            assert accq.simulate(file, x).overflows == (0 if ok else 1)


class TestArithmetic:
    def test_an_order_in_which_wrapping_and_saturating_differ(self):
        # -128 * (-127 - 127 - 127) = 48768 leaves 16 bits on the way; + (-128) * 127 * 2 brings
        # the sum back to 16256.
        q = np.array([-127, -127, -127, 127, 127]).reshape(1, 1, 1, 5)
        x = np.full((1, 1, 1, 5), -128, np.int8)
        file = one_conv(q, claim=CLAIM)
        outputs = {}
        for arithmetic in ("exact", "wrap", "saturate"):
            (op,) = accq.simulate(file, x, arithmetic=arithmetic).ops
            assert op.overflows.tolist() == [1]
            outputs[arithmetic] = op.output.item()
        # 16256 / 256 = 63.5, a tie, to even; (32767 - 32512) / 256 = 0.996.
        assert outputs == {"exact": 64, "wrap": 64, "saturate": 1}

    def test_another_order_of_the_same_products_never_leaves(self):
        q = np.array([-127, 127, -127, 127, -127]).reshape(1, 1, 1, 5)
        x = np.full((1, 1, 1, 5), -128, np.int8)
        result = accq.simulate(one_conv(q, claim=CLAIM), x, arithmetic="saturate")
        assert result.overflows == result.differences == 0

    def test_cells_have_accumulators_of_their_own(self):
        q = np.full((1, 1, 1, 6), -127)
        x = np.full((1, 1, 1, 6), -128, np.int8)
        claim = {"partition": options.RUNS, "partition_size": 2}
        tiled = one_conv(q, claim=claim, output_scale=1024.0)
        assert accq.simulate(tiled, x, arithmetic="wrap").overflows == 0
        assert accq.simulate(tiled, x, arithmetic="wrap").differences == 0
        one = accq.simulate(tiled, x, arithmetic="wrap", partition=Partition())
        assert one.overflows == 1
        assert one.differences == 1

    def test_the_bias_is_added_after_widening(self):
        q = TestWorstCase.AT
        file = one_conv(q, claim=CLAIM, bias=np.array([50_000]), output_scale=1024.0)
        x = np.array([-128, -128, -128, 127], np.int8).reshape(1, 1, 1, 4)
        (op,) = accq.simulate(file, x, arithmetic="saturate").ops
        assert op.overflows.sum() == op.differences == 0
        assert op.output.item() == round((32767 + 50_000) / 1024)

    def test_padding_is_the_zero_point(self):
        # Padding of -128 alone makes the corner's sum overflow 8 taps times 127 * 128.
        q = np.full((1, 3, 3, 1), -127)
        q[0, 1, 1] = 0
        file = models.conv2d(q, (1, 3, 3, 1), input_zero=-128, output_scale=1.0, bias=[0])
        result = accq.simulate(file, np.zeros((1, 3, 3, 1), np.int8), acc_bits=17)
        # 5, 3 or 0 of the 8 taps lie outside: 81280 or 48768 against 65535.
        assert result.ops[0].overflows.tolist() == [4]
        assert result.differences == 0


class TestInputs:
    FILE = one_conv(np.ones((2, 1, 1, 4)))

    def test_several_samples_and_names(self):
        x = np.arange(12, dtype=np.int8).reshape(3, 1, 1, 4)
        plain = accq.simulate(self.FILE, x)
        assert plain.ops[0].output.shape == (3, 1, 1, 2)
        for same in ([x], {"input": x}):
            np.testing.assert_array_equal(accq.simulate(self.FILE, same).outputs, plain.outputs)

    @pytest.mark.parametrize(
        ("x", "match"),
        [
            (np.zeros((1, 1, 1, 4), np.float32), "float32"),
            (np.zeros((1, 1, 1, 5), np.int8), r"received int8 \[1, 1, 1, 5\]"),
            (np.zeros((0, 1, 1, 4), np.int8), r"received int8 \[0, 1, 1, 4\]"),
            ({"other": np.zeros((1, 1, 1, 4), np.int8)}, "names"),
        ],
    )
    def test_inputs_that_do_not_match(self, x, match):
        with pytest.raises(ValueError, match=match):
            accq.simulate(self.FILE, x)

    def test_samples_that_do_not_fill_a_batch(self):
        file = models.fully_connected(np.ones((2, 4)), (2, 4))
        with pytest.raises(ValueError, match="received 3 samples"):
            accq.simulate(file, np.zeros((3, 4), np.int8))
        assert accq.simulate(file, np.zeros((4, 4), np.int8)).ops[0].output.shape == (4, 2)

    @pytest.mark.parametrize("bad", [True, 16.0])
    def test_acc_bits_must_be_an_integer(self, bad):
        with pytest.raises(TypeError, match="acc_bits"):
            accq.simulate(self.FILE, np.zeros((1, 1, 1, 4), np.int8), acc_bits=bad)

    def test_arithmetic_must_be_known(self):
        with pytest.raises(ValueError, match="exact, wrap, saturate"):
            accq.simulate(self.FILE, np.zeros((1, 1, 1, 4), np.int8), arithmetic="clip")


def test_table():
    file = one_conv(TestWorstCase.BEYOND, claim=CLAIM)
    x = np.array([-128, -128, -128, 0], np.int8).reshape(1, 1, 1, 4)
    lines = str(accq.simulate(file, x, arithmetic="wrap")).splitlines()
    assert " ".join(lines[1].split()) == "0 conv P = 16 monolithic 1 1 1 of 1 1"
    assert lines[-1] == "wrap: 1 outputs overflowed, 1 differ"

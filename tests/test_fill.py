import warnings

import numpy as np
import pytest

from keras_accq.bounds import ALL, Partition, fits, operand_range, type_bound_bits
from keras_accq.errors import BudgetError
from keras_accq.fill import LayerStats, choose, input_error
from keras_accq.quantizers.projection import project_l1
from keras_accq.quantizers.rounding import Nearest, Repaired, Truncated, l1_radius


def _quantize(weights, scales, weight_bits, input_bits, acc_bits, partition=ALL):
    """A2Q's quantizer, written cell by cell: int64 [channels, K]."""
    q = np.zeros(weights.shape, np.int64)
    cells = partition.cells(weights.shape[1])
    for channel, row in enumerate(weights):
        for cell in range(cells.max() + 1):
            at = cells == cell
            radius = scales[channel] * l1_radius(acc_bits, input_bits)
            shrunk = project_l1(row[None, at], radius)[0] / scales[channel]
            q[channel, at] = np.trunc(shrunk * (1 + 1e-12))
    largest = operand_range(weight_bits)[1]
    return np.clip(q, -largest, largest)


def _simulated_error(weights, scales, weight_bits, input_bits, input_range, acc_bits, rng):
    """Relative error of the outputs on random half-normal inputs, by computing them."""
    x = np.abs(rng.normal(size=(1000, weights.shape[1])))
    step = input_range[1] / (2**input_bits - 1)
    x_hat = np.clip(np.rint(x / step), 0, 2**input_bits - 1) * step
    q = _quantize(weights, scales, weight_bits, input_bits, acc_bits)
    exact, quantized = x @ weights.T, x_hat @ (q * scales[:, None]).T
    # The mean over channels of energies, as single channels' offsets vary with their sums.
    return np.sqrt(np.mean((quantized - exact) ** 2) / np.mean(exact**2))


@pytest.mark.parametrize(("k", "acc_bits"), [(9, 16), (64, 14), (576, 16)])
def test_choice_is_near_the_best_by_simulation(k: int, acc_bits: int) -> None:
    rng = np.random.default_rng(k)
    weights = rng.normal(size=(8, k))
    weights -= weights.mean(axis=1, keepdims=True)
    errors = {}
    for n in range(2, 9):
        for m in range(2, 9):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fixed = choose([LayerStats("l", weights, acc_bits, ALL, m)], input_bits=n)
            errors[n, m] = _simulated_error(
                weights, fixed.layers[0].scales, m, n, fixed.input_range, acc_bits, rng
            )
    chosen = choose([LayerStats("l", weights, acc_bits)])
    key = chosen.input_bits, chosen.layers[0].weight_bits
    # Chosen without looking at outputs. Centred weights make all channels' signals alike.
    assert errors[key] <= 1.25 * min(errors.values())


def test_576_inputs_at_16_bits_take_few_bits_not_8_by_8() -> None:
    weights = np.random.default_rng(0).normal(size=(64, 576))
    chosen = choose([LayerStats("l", weights, 16)])
    assert chosen.input_bits in (4, 5)
    assert chosen.layers[0].weight_bits in (5, 6, 7)
    assert chosen.layers[0].error < 0.12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = choose([LayerStats("l", weights, 16, ALL, 8)], input_bits=8)
    assert wide.layers[0].error > 5 * chosen.layers[0].error


def test_estimate_matches_simulation() -> None:
    rng = np.random.default_rng(5)
    for k, acc_bits in ((27, 16), (288, 16), (288, 12)):
        weights = rng.normal(size=(400, k))
        chosen = choose([LayerStats("l", weights, acc_bits)])
        layer = chosen.layers[0]
        measured = _simulated_error(
            weights,
            layer.scales,
            layer.weight_bits,
            chosen.input_bits,
            chosen.input_range,
            acc_bits,
            rng,
        )
        assert layer.error == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize("partition", [ALL, Partition("runs", 64), Partition("lanes", 8)], ids=str)
@pytest.mark.parametrize("acc_bits", [8, 12, 16])
def test_every_choice_fits(partition: Partition, acc_bits: int) -> None:
    weights = np.random.default_rng(1).normal(size=(5, 200))
    weights[2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = choose([LayerStats("l", weights, acc_bits, partition)])
    layer = chosen.layers[0]
    q = _quantize(weights, layer.scales, layer.weight_bits, chosen.input_bits, acc_bits, partition)
    assert fits(q, *operand_range(chosen.input_bits), acc_bits, partition).all()
    assert layer.zeros == pytest.approx(np.mean(q == 0))
    assert (layer.scales > 0).all()


def test_a_tile_allows_more_than_one_accumulator() -> None:
    weights = np.random.default_rng(2).normal(size=(8, 1152))
    whole = choose([LayerStats("l", weights, 16)])
    tiled = choose([LayerStats("l", weights, 16, Partition("runs", 64))])
    assert tiled.layers[0].error < 0.5 * whole.layers[0].error


def test_all_consumers_share_one_input_width() -> None:
    rng = np.random.default_rng(3)
    small, large = rng.normal(size=(8, 9)), rng.normal(size=(8, 1152))
    apart = [choose([LayerStats("l", w, 16)]).input_bits for w in (small, large)]
    both = choose([LayerStats("small", small, 16), LayerStats("large", large, 16, ALL, 4)])
    assert apart[1] <= both.input_bits <= apart[0]
    assert [layer.name for layer in both.layers] == ["small", "large"]
    assert both.layers[1].weight_bits == 4


def test_measured_inputs_set_the_range_and_the_sign() -> None:
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(8, 100))
    signed = choose([LayerStats("l", weights, 16)], inputs=3 * rng.normal(size=(50, 100)))
    assert not signed.assumed
    low, high = signed.input_range
    step = (high - low) / (2**signed.input_bits - 1)
    assert 0.7 < -low / high < 1.4
    assert low / step == pytest.approx(round(low / step))  # 0 is on the grid.
    positive = choose([LayerStats("l", weights, 16)], inputs=np.abs(rng.normal(size=9999)))
    assert positive.input_range[0] == 0
    assert choose([LayerStats("l", weights, 16)], inputs="uniform").assumed


def test_low_widths_clip_rather_than_stretch() -> None:
    samples = np.abs(np.random.default_rng(6).normal(size=4096))
    error = input_error(samples, 2)
    stretched = samples.max() / 3
    noise = np.mean((np.rint(samples / stretched) * stretched - samples) ** 2)
    assert error.noise < 0.7 * noise
    assert error.high < samples.max()


def test_same_result_each_time_on_large_layers() -> None:
    weights = np.random.default_rng(7).normal(size=(256, 1152))
    samples = np.abs(np.random.default_rng(8).normal(size=10**6))
    first, second = (choose([LayerStats("l", weights, 16)], inputs=samples) for _ in range(2))
    assert first.input_bits == second.input_bits
    np.testing.assert_array_equal(first.layers[0].scales, second.layers[0].scales)


def test_a_budget_below_one_names_layer_and_least_width() -> None:
    layer = LayerStats("conv_7", np.diag([1.0, 1.0, 1.0, 1.0]), 8)
    with pytest.raises(BudgetError, match=r"conv_7: 8 accumulator bits.*acc_bits >= 9"):
        choose([layer], input_bits=8)
    assert choose([layer], input_bits=7).input_bits == 7
    with pytest.raises(BudgetError, match="acc_bits >= 3"):
        choose([LayerStats("l", np.ones((1, 4)), 2)])


def test_one_warning_when_most_weights_become_zero() -> None:
    weights = np.random.default_rng(9).normal(size=(4, 1152))
    layers = [LayerStats("a", weights, 14, ALL, 8), LayerStats("b", weights, 14, ALL, 8)]
    with pytest.warns(UserWarning, match=r"a starts with 9.*N=8, M=8, K=1152.*63") as caught:
        choose(layers, input_bits=8)
    assert len(caught) == 1
    assert "b starts with" in str(caught[0].message)


def test_refuses_bad_arguments() -> None:
    good = np.ones((2, 3))
    with pytest.raises(ValueError, match="at least one"):
        choose([])
    with pytest.raises(ValueError, match=r"conv.*shape"):
        choose([LayerStats("conv", np.ones(3), 16)])
    with pytest.raises(ValueError, match=r"conv.*NaN"):
        choose([LayerStats("conv", np.array([[np.nan]]), 16)])
    with pytest.raises(TypeError):
        choose([LayerStats("conv", good, True)])
    with pytest.raises(ValueError, match=r"2\.\.8"):
        choose([LayerStats("conv", good, 16)], input_bits=9)
    with pytest.raises(ValueError, match="half_normal"):
        choose([LayerStats("conv", good, 16)], inputs="cauchy")
    with pytest.raises(ValueError, match="finite"):
        choose([LayerStats("conv", good, 16)], inputs=[])


def test_training_makes_up_for_weights_but_not_for_inputs() -> None:
    rng = np.random.default_rng(0)
    pixels = np.clip(np.rint(rng.normal(120, 60, 4000)), 0, 255)
    stats = [LayerStats("first", rng.uniform(-1, 1, (16, 27)), 16)]
    untrained = choose(stats, inputs=pixels)
    trained = choose(stats, inputs=pixels, kept=0.03)
    # Eight bits hold pixels exactly, which is worth fewer and coarser weights.
    assert untrained.input_bits < trained.input_bits == 8
    assert trained.layers[0].error > untrained.layers[0].error
    # Where eight bits leave hardly any weights, no training makes up for them.
    narrow = [LayerStats("first", rng.normal(size=(16, 27)), 11)]
    assert choose(narrow, inputs=pixels, kept=0.03).input_bits < 7


def test_constant_inputs_have_widths() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 9))
    for value in (0.0, 3.0, -2.0):
        for kept in (1.0, 0.1):
            choose([LayerStats("l", weights, 16)], inputs=np.full(100, value), kept=kept)


def test_rounds_as_the_layers_method_does() -> None:
    weights = np.random.default_rng(10).normal(size=(16, 288))
    errors = {}
    for rounding in (Nearest(), Truncated(unsigned=True), Truncated(), Repaired()):
        chosen = choose([LayerStats("l", weights, 14, ALL, rounding=rounding)])
        layer = chosen.layers[0]
        q = rounding.prepare(weights, np.full(16, 288)).integers(
            layer.scales, 14, chosen.input_bits, layer.weight_bits
        )
        assert layer.zeros == pytest.approx(np.mean(q == 0))
        assert fits(q.astype(np.int64), *operand_range(chosen.input_bits), 14).all()
        errors[rounding] = layer.error
    assert sorted(errors, key=errors.get, reverse=True) == list(errors)


def test_widths_that_must_fit_by_their_types() -> None:
    weights = np.random.default_rng(11).normal(size=(4, 100))

    def layer(acc_bits, weight_bits=None, partition=ALL):
        return LayerStats("conv_3", weights, acc_bits, partition, weight_bits, Nearest())

    chosen = choose([layer(16)])
    n, m = chosen.input_bits, chosen.layers[0].weight_bits
    assert type_bound_bits(100, n, m, signed_inputs=True) <= 16
    assert type_bound_bits(100, n + 1, m + 1, signed_inputs=True) > 16
    with pytest.raises(BudgetError, match=r"conv_3: .*100 products.*acc_bits >= 10"):
        choose([layer(9)])
    with pytest.raises(BudgetError, match=r"conv_3: .*2-bit inputs and 8-bit.*acc_bits >= 16"):
        choose([layer(14, 8)])
    assert choose([layer(9, None, Partition("runs", 8))]).input_bits >= 2

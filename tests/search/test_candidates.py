import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from keras_accq.bounds import fits, operand_range, type_bound_bits, worst_case
from keras_accq.calibration import Measurement
from keras_accq.errors import BudgetError
from keras_accq.graph.groups import Group
from keras_accq.recipe import LayerRecipe
from keras_accq.search.candidates import Candidate, Settings, candidates

RNG = np.random.default_rng(0)
KERNELS = {"a": RNG.normal(size=(144, 6)), "b": RNG.laplace(size=(48, 3))}


def _find(
    acc_bits=14,
    scheme="fixed_point",
    bound="exact",
    tile=None,
    names=("a",),
    out=(),
    kernels=KERNELS,
) -> list[Candidate]:
    samples = np.abs(RNG.normal(size=4096)).astype(np.float32)
    measurement = Measurement(float(samples.min()), float(samples.max()), samples)
    group = Group("x", [], set(), [SimpleNamespace(name=name) for name in names])
    layers = {
        name: LayerRecipe(name, kernels[name].shape, None, 8, 8)
        if name in out
        else LayerRecipe(name, kernels[name].shape, acc_bits, 8, 8, tile, "round", {}, (0.0,))
        for name in names
    }
    return candidates(group, layers, kernels, measurement, Settings(acc_bits, scheme, bound, tile))


def _integers(layer: LayerRecipe, finer: float = 0.0) -> np.ndarray:
    """int64 [channels, K] by the recipe, or with scales of so many octaves less."""
    scales = np.exp2(np.array(layer.log2_scales, np.float32).astype(float) - finer)
    return np.rint(KERNELS[layer.name] / scales).T.astype(np.int64)


@pytest.mark.parametrize("scheme", ["fixed_point", "free"])
@pytest.mark.parametrize("acc_bits", [10, 14, 18])
@pytest.mark.parametrize("tile", [None, 16])
def test_all_fit_and_nothing_finer_does(scheme: str, acc_bits: int, tile) -> None:
    settings = Settings(acc_bits, scheme, "exact", tile)
    found = _find(acc_bits, scheme, tile=tile, names=("a", "b"))
    assert [candidate.bits for candidate in found] == sorted(
        {candidate.bits for candidate in found}, reverse=True
    )
    for candidate in found:
        ends = operand_range(candidate.bits)
        for layer in candidate.layers:
            q = np.clip(_integers(layer), -127, 127)
            assert fits(q, *ends, acc_bits, settings.partition).all()
            largest = 2 ** (layer.weight_bits - 1) - 1
            assert np.abs(q).max() <= largest
            assert layer.weight_bits == 2 or np.abs(q).max() > largest // 2
            # The scale below overflows, or needs more than 8 bits.
            step = 1.0 if scheme == "fixed_point" else 0.05
            finer = _integers(layer, step)
            over = ~fits(np.clip(finer, -127, 127), *ends, acc_bits, settings.partition)
            wide = np.abs(finer).max(axis=1) > 127
            assert (over | wide).all()
            if scheme == "fixed_point":
                assert np.array_equal(np.rint(layer.log2_scales), layer.log2_scales)


def test_narrower_data_come_only_with_finer_weights() -> None:
    # At 32 bits everything fits: one candidate is left.
    assert [candidate.bits for candidate in _find(32)] == [8]
    found = _find(14)
    for wider, narrower in itertools.pairwise(found):
        assert any(np.less(narrower.layers[0].log2_scales, wider.layers[0].log2_scales))


def test_type_bound_fits_whatever_the_weights() -> None:
    for scheme in ("fixed_point", "free"):
        for candidate in _find(16, scheme, "type"):
            layer = candidate.layers[0]
            assert type_bound_bits(144, candidate.bits, layer.weight_bits, True) <= 16
            assert (
                layer.weight_bits == 8
                or type_bound_bits(144, candidate.bits, layer.weight_bits + 1, True) > 16
            )
            worst = np.full((1, 144), 2 ** (layer.weight_bits - 1) - 1)
            assert worst_case(worst, *operand_range(candidate.bits))[0] < 2**15


def test_the_exact_bound_leaves_more_than_the_type_bound() -> None:
    def widths(bound: str) -> dict[int, int]:
        return {c.bits: c.layers[0].weight_bits for c in _find(14, bound=bound)}

    exact, types = widths("exact"), widths("type")
    assert all(exact.get(bits, 9) > weight_bits for bits, weight_bits in types.items())


def test_excluded_readers_have_8_bits_and_no_say() -> None:
    both = _find(12, names=("a", "b"), out=("b",))
    assert [c.bits for c in both] == [c.bits for c in _find(12)]
    assert all(c.layers[-1].excluded for c in both)
    (only,) = _find(12, names=("b",), out=("b",))
    assert only.bits == 8


@pytest.mark.parametrize("scheme", ["fixed_point", "free"])
@pytest.mark.parametrize("bound", ["exact", "type"])
def test_a_budget_that_nothing_meets_names_the_least_that_something_does(scheme, bound) -> None:
    kernels = {"a": np.ones((300, 2)), "b": np.ones((20, 2))}
    with pytest.raises(BudgetError, match=r"^a: no widths .*expected acc_bits >= \d+") as caught:
        _find(4, scheme, bound, names=("a", "b"), kernels=kernels)
    least = int(str(caught.value).split("acc_bits >= ")[1].split(",")[0])
    assert _find(least, scheme, bound, names=("a", "b"), kernels=kernels)
    with pytest.raises(BudgetError, match=r"^a: "):
        _find(least - 1, scheme, bound, names=("a", "b"), kernels=kernels)


def test_channels_and_layers_of_zeros() -> None:
    kernels = {"a": np.concatenate([np.zeros((50, 1)), RNG.normal(size=(50, 1))], axis=1)}
    assert _find(14, kernels=kernels)
    assert [c.bits for c in _find(14, kernels={"a": np.zeros((50, 2))})] == [8]

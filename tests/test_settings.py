import pytest

from keras_accq.quantizers.a2q import A2Q
from keras_accq.settings import LayerSettings, resolve

_NAMES = ["stem", "block1_conv1", "block1_conv2", "head"]
_DEFAULTS = LayerSettings(acc_bits=16, weight_bits=6)


def _resolve(exclude=(), overrides=None) -> dict[str, LayerSettings]:
    return resolve(_NAMES, _DEFAULTS, exclude, overrides)


def test_defaults() -> None:
    assert _resolve() == dict.fromkeys(_NAMES, _DEFAULTS)
    assert _DEFAULTS.method == A2Q()


@pytest.mark.parametrize(
    ("exclude", "excluded"),
    [
        ("first_last", ["stem", "head"]),
        ("head", ["head"]),
        (["block1_*"], ["block1_conv1", "block1_conv2"]),
        (("stem", "*conv2"), ["stem", "block1_conv2"]),
    ],
)
def test_exclude(exclude, excluded) -> None:
    settings = _resolve(exclude)
    assert [name for name, layer in settings.items() if layer.exclude] == excluded


def test_overrides_change_only_what_they_name_and_later_ones_win() -> None:
    settings = _resolve(
        "first_last",
        {
            "block1_*": {"acc_bits": 14, "tile": 64},
            "block1_conv2": {"acc_bits": 12, "method": A2Q(0.5), "input_bits": 4},
            "head": {"exclude": False},
        },
    )
    assert settings["block1_conv1"] == LayerSettings(14, 6, None, 64)
    assert settings["block1_conv2"] == LayerSettings(12, 6, 4, 64, A2Q(0.5))
    assert settings["stem"].exclude
    assert not settings["head"].exclude


@pytest.mark.parametrize(
    ("exclude", "overrides", "error", "text"),
    [
        ("haed", None, ValueError, r"exclude: 'haed' matches no layer.*'head'"),
        (["head", "x*"], None, ValueError, r"exclude: 'x\*' matches no layer"),
        ([3], None, TypeError, "received 3"),
        ("*", None, ValueError, "nothing to constrain"),
        ((), {"block": {}}, ValueError, "overrides: 'block' matches no layer"),
        ((), {"head": {"bits": 3}}, ValueError, r"unknown keys \['bits'\]; expected some of"),
        ((), {"head": 3}, TypeError, r"overrides\['head'\]: expected a dict"),
        ((), [("head", {})], TypeError, "overrides: expected a dict"),
        ((), {"head": {"acc_bits": True}}, TypeError, r"overrides\['head'\]: acc_bits.*bool"),
        ((), {"head": {"acc_bits": 40}}, ValueError, r"overrides\['head'\]: acc_bits.*40"),
        ((), {"head": {"weight_bits": 9}}, ValueError, r"overrides\['head'\]: weight_bits.*9"),
        ((), {"head": {"input_bits": 1}}, ValueError, r"overrides\['head'\]: input_bits.*1"),
        ((), {"head": {"tile": 0}}, ValueError, r"overrides\['head'\].*0"),
        ((), {"head": {"method": "a3q"}}, ValueError, "a3q"),
        ((), {"head": {"exclude": "yes"}}, TypeError, "exclude: expected a bool"),
    ],
)
def test_mistakes_are_refused(exclude, overrides, error, text) -> None:
    with pytest.raises(error, match=text):
        _resolve(exclude, overrides)


@pytest.mark.parametrize("value", [True, 1, 33, 16.0, "16", None])
def test_bad_accumulators_are_refused(value) -> None:
    with pytest.raises((TypeError, ValueError), match="acc_bits"):
        LayerSettings(acc_bits=value)

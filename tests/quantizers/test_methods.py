import keras
import pytest

from keras_accq.quantizers import methods
from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.axe import AXE


def test_by_name_object_and_config() -> None:
    assert methods.get("a2q") == A2Q()
    method = A2Q(0.1)
    assert methods.get(method) is method
    assert methods.get(keras.saving.serialize_keras_object(method)) == method


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_every_method_is_known_by_its_name_and_survives_saving(name) -> None:
    method = methods.get(name)
    assert type(method).name == name
    assert methods.get(keras.saving.serialize_keras_object(method)) == method
    assert hash(methods.get(name)) == hash(method)
    assert set(method.get_config()) == set(type(method).options())
    assert repr(method).startswith(type(method).__name__)


def test_only_axe_works_after_training() -> None:
    assert [n for n, method in methods.METHODS.items() if method.post_training] == ["axe"]


def test_options_go_to_the_constructor() -> None:
    assert methods.get("a2q", regularization=0.5) == A2Q(0.5)
    assert methods.get("axe", algorithm="gpfq") == AXE(algorithm="gpfq")
    with pytest.raises(TypeError, match=r"algoritm: no argument .*'axe', which takes algorithm"):
        methods.get("axe", algoritm="gpfq")
    with pytest.raises(TypeError, match=r"tiles: .*'round', which takes none"):
        methods.get("round", tiles=3)
    with pytest.raises(TypeError, match=r"regularization: options go with a method's name"):
        methods.get(A2Q(), regularization=0.5)
    with pytest.raises(ValueError, match="regularization"):
        methods.get("a2q+", regularization=-1)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a2q.*received 'a3q'"):
        methods.get("a3q")
    with pytest.raises(TypeError, match="received 3"):
        methods.get(3)


def test_an_unknown_name_is_answered_with_all_that_quantize_takes():
    with pytest.raises(ValueError, match=r"expected one of \['a2q', .*'auto', 'axe'.*\], received"):
        methods.get("A2Q")

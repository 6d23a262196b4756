import keras
import pytest

from keras_accq.quantizers import methods
from keras_accq.quantizers.a2q import A2Q


def test_by_name_object_and_config() -> None:
    assert methods.get("a2q") == A2Q()
    method = A2Q(0.1)
    assert methods.get(method) is method
    assert methods.get(keras.saving.serialize_keras_object(method)) == method


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a2q.*received 'a3q'"):
        methods.get("a3q")
    with pytest.raises(TypeError, match="received 3"):
        methods.get(3)

"""Weight quantization methods by name or as objects."""

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.quantizers.operands import Operands


class Method(Protocol):
    """What a layer asks of a method. Matrices are [K, C], parameters float32 [C] by name."""

    parameters: tuple[str, ...]
    regularization: float

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]: ...

    def quantize(
        self, v: Any, parameters: dict[str, Any], operands: Operands
    ) -> tuple[Any, Any]: ...

    def penalty(self, v: Any, parameters: dict[str, Any], operands: Operands) -> Any: ...


_NAMES: dict[str, type[A2Q]] = {"a2q": A2Q}


def get(method: Any) -> Method:
    """A method from its name, a method object, or a method's serialized form.

    Raises:
        ValueError: An unknown name.
        TypeError: Anything else.
    """
    if isinstance(method, (A2Q, MaxScale)):
        return method
    if isinstance(method, str):
        if method not in _NAMES:
            raise ValueError(f"method: expected one of {sorted(_NAMES)}, received {method!r}")
        return _NAMES[method]()
    if isinstance(method, Mapping):
        return get(keras.saving.deserialize_keras_object(dict(method)))
    raise TypeError(
        f"method: expected one of {sorted(_NAMES)} or a method object such as A2Q(), "
        f"received {method!r}"
    )

"""Weight quantization methods by name or as objects."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.a2q_plus import A2QPlus
from keras_accq.quantizers.a2q_unsigned import A2QUnsigned
from keras_accq.quantizers.axe import AXE
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.round import Round
from keras_accq.quantizers.type_bound import TypeBound

# `quantize` makes this one of AXE and a search.
_SEARCHED = "auto"
METHODS: dict[str, type[Method]] = {
    method.name: method for method in (A2Q, A2QPlus, AXE, A2QUnsigned, TypeBound, Round)
}


def _names() -> list[str]:
    return sorted([*METHODS, _SEARCHED])


def get(method: Any, **options: Any) -> Method:
    """A method from its name, a method object, or a method's serialized form.

    Args:
        method: Such as "a2q", `A2Q()` or `keras.saving.serialize_keras_object(A2Q())`.
        **options: For the constructor of a method given by its name.

    Raises:
        ValueError: An unknown name, or an option's bad value.
        TypeError: An option that the method does not have, options for an object, or anything else
            as a method.
    """
    if isinstance(method, str):
        return _named(method, options)
    if options:
        raise TypeError(
            f"{', '.join(options)}: options go with a method's name; set them on {method!r} itself"
        )
    if isinstance(method, Method):
        return method
    if isinstance(method, Mapping):
        return get(keras.saving.deserialize_keras_object(dict(method)))
    raise TypeError(
        f"method: expected one of {_names()} or a method object such as A2Q(), received {method!r}"
    )


def _named(name: str, options: dict[str, Any]) -> Method:
    if name not in METHODS:
        raise ValueError(f"method: expected one of {_names()}, received {name!r}")
    known = METHODS[name].options()
    unknown = [option for option in options if option not in known]
    if unknown:
        raise TypeError(
            f"{', '.join(unknown)}: no argument of quantize, and no option of method {name!r}, "
            + (f"which takes {', '.join(known)}" if known else "which takes none")
        )
    return METHODS[name](**options)

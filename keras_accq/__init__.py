"""Keras models whose dot products fit narrow accumulators, proven from the file's bytes.

    import keras_accq as accq

    qmodel = accq.quantize(model, acc_bits=16)      # train it on like any Keras model
    accq.convert(qmodel, "model.tflite")            # certified from the bytes it wrote
    print(accq.verify("model.tflite"))
    interpreter = accq.Interpreter("model.tflite")  # int16-accumulator kernels

Names are loaded on first use, so that importing this package costs neither TensorFlow nor Keras.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it.
_EXPORTS = {
    "AccqError": "errors",
    "BudgetError": "errors",
    "ConversionError": "errors",
    "DelegateError": "errors",
    "EvaluationError": "errors",
    "InvalidFileError": "errors",
    "SearchInterrupted": "errors",
    "UnsupportedModelError": "errors",
    "Partition": "bounds",
    "Certificate": "certificate",
    "verify": "verify",
    "simulate": "simulate",
    "report": "report.page",
    "export_integers": "integers.export",
    "load_integers": "integers.model",
    "IntegerModel": "integers.model",
    "rewrite": "tflite.rewrite",
    "convert": "tflite.convert",
    "round_biases": "tflite.biases",
    "Interpreter": "runtime",
    "delegate_path": "runtime",
    "load_delegate": "runtime",
    "quantize": "quantize",
    "A2Q": "quantizers.a2q",
    "A2QPlus": "quantizers.a2q_plus",
    "AXE": "quantizers.axe",
    "A2QUnsigned": "quantizers.a2q_unsigned",
    "TypeBound": "quantizers.type_bound",
    "Round": "quantizers.round",
    "equalize": "ptq.equalize",
    "correct_biases": "ptq.bias_correction",
    "reestimate_batchnorm": "ptq.batchnorm",
    "strip": "strip",
    "load_model": "loading",
    "exclude_from_weight_decay": "weight_decay",
    "summary": "summary",
    "BudgetMonitor": "monitor",
    "Recipe": "recipe",
    "recipe_of": "reuse",
    "AccumulatorQuantizeConfig": "tfmot.config",
    "AccumulatorQuantizeScheme": "tfmot.scheme",
    "search": "search.search",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from keras_accq.bounds import Partition as Partition
    from keras_accq.certificate import Certificate as Certificate
    from keras_accq.errors import AccqError as AccqError
    from keras_accq.errors import BudgetError as BudgetError
    from keras_accq.errors import ConversionError as ConversionError
    from keras_accq.errors import DelegateError as DelegateError
    from keras_accq.errors import EvaluationError as EvaluationError
    from keras_accq.errors import InvalidFileError as InvalidFileError
    from keras_accq.errors import SearchInterrupted as SearchInterrupted
    from keras_accq.errors import UnsupportedModelError as UnsupportedModelError
    from keras_accq.integers.export import export_integers as export_integers
    from keras_accq.integers.model import IntegerModel as IntegerModel
    from keras_accq.integers.model import load_integers as load_integers
    from keras_accq.loading import load_model as load_model
    from keras_accq.monitor import BudgetMonitor as BudgetMonitor
    from keras_accq.ptq.batchnorm import reestimate_batchnorm as reestimate_batchnorm
    from keras_accq.ptq.bias_correction import correct_biases as correct_biases
    from keras_accq.ptq.equalize import equalize as equalize
    from keras_accq.quantize import quantize as quantize
    from keras_accq.quantizers.a2q import A2Q as A2Q
    from keras_accq.quantizers.a2q_plus import A2QPlus as A2QPlus
    from keras_accq.quantizers.a2q_unsigned import A2QUnsigned as A2QUnsigned
    from keras_accq.quantizers.axe import AXE as AXE
    from keras_accq.quantizers.round import Round as Round
    from keras_accq.quantizers.type_bound import TypeBound as TypeBound
    from keras_accq.recipe import Recipe as Recipe
    from keras_accq.report.page import report as report
    from keras_accq.reuse import recipe_of as recipe_of
    from keras_accq.runtime import Interpreter as Interpreter
    from keras_accq.runtime import delegate_path as delegate_path
    from keras_accq.runtime import load_delegate as load_delegate
    from keras_accq.search.search import search as search
    from keras_accq.simulate import simulate as simulate
    from keras_accq.strip import strip as strip
    from keras_accq.summary import summary as summary
    from keras_accq.tflite.biases import round_biases as round_biases
    from keras_accq.tflite.convert import convert as convert
    from keras_accq.tflite.rewrite import rewrite as rewrite
    from keras_accq.tfmot.config import AccumulatorQuantizeConfig as AccumulatorQuantizeConfig
    from keras_accq.tfmot.scheme import AccumulatorQuantizeScheme as AccumulatorQuantizeScheme
    from keras_accq.verify import verify as verify
    from keras_accq.weight_decay import exclude_from_weight_decay as exclude_from_weight_decay


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'keras_accq' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keras_accq.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps public names what they are where a submodule has the same one.

    Python binds a submodule in its package once it is imported, so that any `from
    keras_accq.verify import ...` would turn `accq.verify` from a function into a module.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _EXPORTS):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

# Keras finds the layers of a saved model only once they are registered. Where Keras is loaded
# already, registering them is cheap; where it is not, `load_model` does it.
if "keras" in sys.modules:
    importlib.import_module("keras_accq.layers")

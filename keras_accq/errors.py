"""The exceptions of keras-accq. Plain `ValueError` and `TypeError` are used for bad arguments."""


class AccqError(Exception):
    """Base class of everything keras-accq raises on its own account."""


class InvalidFileError(AccqError, ValueError):
    """A `.tflite` file, or an options blob inside it, is malformed or of an unknown version."""


class BudgetError(AccqError, ValueError):
    """A dot product does not fit, or can not be made to fit, the accumulator asked for."""


class UnsupportedModelError(AccqError, ValueError):
    """A Keras model holds something keras-accq can not quantize; the text lists all of it."""


class ConversionError(AccqError, RuntimeError):
    """The converter produced a file that is not what the quantized model means."""


class DelegateError(AccqError, RuntimeError):
    """The delegate library is missing, could not be loaded, or refused a model."""


class MismatchError(AccqError, RuntimeError):
    """The delegate's outputs differ from stock LiteRT's, which is a defect; the text says where."""


class SearchInterrupted(AccqError, RuntimeError):
    """The executor of a search failed; the text says how to go on."""


class EvaluationError(AccqError, RuntimeError):
    """A search's `evaluate` failed, or a model could not be run; the text holds the traceback."""

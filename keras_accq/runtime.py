"""Running a converted file: the delegate, and an `ai_edge_litert` interpreter that has it attached.

    interpreter = accq.Interpreter("model.tflite")
    interpreter.allocate_tensors()
    print(interpreter)                       # how many operators the delegate took

Any runtime that loads external delegates can run the same files: give it the library at
`delegate_path()`, for example `tf.lite.experimental.load_delegate(accq.delegate_path())`. Where
there is no `ai_edge_litert`, as on 32-bit ARM, `tflite_runtime` takes its place here.
"""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

try:
    from ai_edge_litert import interpreter as litert
except ModuleNotFoundError as missing:
    try:  # on 32-bit ARM, for which there is only this older one
        from tflite_runtime import interpreter as litert
    except ModuleNotFoundError:
        raise missing from None

from keras_accq.errors import DelegateError
from keras_accq.tflite import options as op_options
from keras_accq.tflite.reader import load

_LIBRARY = Path(__file__).parent / "lib" / "libaccq_delegate.so"
# Written instead of the library by an installation without the tools to build it (setup.py).
_NOT_BUILT = _LIBRARY.with_name("not_built.txt")
_VARIABLE = "ACCQ_DELEGATE"
# DelegateStatus.magic in tflite_kernels/delegate/delegate.h.
_MAGIC = b"ACCQDLG2"


def delegate_path() -> str:
    """The delegate library's path: the one in this package, or what `ACCQ_DELEGATE` names.

    Raises:
        DelegateError: There is no such file.
    """
    explicit = os.environ.get(_VARIABLE)
    if explicit:
        if not os.path.isfile(explicit):
            raise DelegateError(
                f"the environment variable {_VARIABLE} names {explicit!r}, which is no file; "
                "unset it to use the delegate of the installed package"
            )
        return explicit
    if not _LIBRARY.is_file():
        reason = (
            "there was no C++17 compiler or no CMake when keras-accq was installed, or it was "
            "not installed with pip"
        )
        if _NOT_BUILT.is_file():
            reason = _NOT_BUILT.read_text(encoding="utf-8").strip()
        raise DelegateError(
            f"the delegate was not built, there is no {_LIBRARY}: {reason}. Install what is "
            "missing and then keras-accq again (pip's --verbose shows the build), or let "
            f"{_VARIABLE} name a library that was built elsewhere. rewrite, verify and simulate "
            "work without it"
        )
    return str(_LIBRARY)


def load_delegate(options: Mapping[str, object] | None = None) -> litert.Delegate:
    """Loads the delegate for `experimental_delegates=[...]` of an `ai_edge_litert` interpreter.

    Keep the result for as long as the interpreter lives. `accq.Interpreter` does all that.

    Args:
        options: Of the delegate; the values are turned into strings. `claim`: "custom" to take
            keras-accq operators, or "builtin" to take int8 built-in operators too, where that is
            faster; `kernel`: the name of the kernel to run every operator with, instead of the
            best one for each; `report_path`: a file to which one line of JSON is appended per
            operator whenever shapes are set (`allocate_tensors`): op, output (tensor name), node,
            input_shape, output_shape, kernel, steps, spills, extra_steps, int32_steps,
            packed_bytes, scratch_bytes, threads, macs; `threads`: how many run one operator, 0
            for as many as the interpreter is given; `verbose`: 1 to see the report on standard
            error, and which built-in operators were left alone, and why.

    Raises:
        DelegateError: The library is missing, can not be loaded on this machine, or refuses an
            option.
    """
    path = delegate_path()
    try:
        # Before litert.Delegate, which adds unrelated noise when one of these fails.
        if not hasattr(ctypes.PyDLL(path), "tflite_plugin_create_delegate"):
            raise DelegateError(f"{path} is no TFLite delegate: it exports no plugin functions")
        return litert.load_delegate(path, dict(options or {}))
    except OSError as error:
        raise DelegateError(f"the delegate {path} can not be loaded: {error}") from error
    except ValueError as error:
        raise DelegateError(f"the delegate refuses its options {options}: {error}") from error


@dataclass(frozen=True)
class AccqNode:
    """A keras-accq operator of a file.

    Attributes:
        subgraph: The subgraph's place in the file.
        index: The operator's place in the subgraph.
        op: Its custom code, like "AccqConv2D".
        name: Its output tensor's name.
    """

    subgraph: int
    index: int
    op: str
    name: str


class Interpreter(litert.Interpreter):
    """An `ai_edge_litert` interpreter with the keras-accq delegate attached and kept alive.

    Everything else is as in `ai_edge_litert.interpreter.Interpreter`, of which it is a subclass.

    Args:
        model_path: Path of the `.tflite` file.
        model_content: Its bytes, instead of the path.
        num_threads: Threads of one operator, the runtime's own and ours; one if None.
        claim: "custom": the delegate takes the file's keras-accq operators. "builtin": also its
            int8 CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV, in any file,
            wherever our kernels are expected to be faster on this CPU. Outputs stay the same, byte
            for byte.
        kernel: Run every operator that the delegate takes with this kernel, instead of the best
            for each. With claim="builtin", take all built-in operators that this kernel handles.
        report_path: A file to which one line of JSON per operator is appended; `load_delegate`
            lists the fields.
        **litert_options: Further arguments of the `ai_edge_litert` interpreter.

    Attributes:
        accq_nodes: The keras-accq operators of the file (`AccqNode`), in order.
        int8_builtins: With claim="builtin", how many built-in operators of those kinds with int8
            inputs the delegate found; else 0.
        builtins_elsewhere: How many of them another delegate had taken before.

    Raises:
        InvalidFileError: The file is malformed.
        DelegateError: The delegate is missing, or refuses the kernel, the report path or the file;
            or it did not take all of the file's keras-accq operators.
        ValueError: Not exactly one of `model_path` and `model_content`.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: bytes | None = None,
        num_threads: int | None = None,
        *,
        claim: Literal["custom", "builtin"] = "custom",
        kernel: str | None = None,
        report_path: str | os.PathLike[str] | None = None,
        **litert_options: Any,
    ) -> None:
        self._model_name = "model_content" if model_path is None else os.fspath(model_path)
        source = model_content if model_path is None else model_path
        if source is None or (model_path is not None and model_content is not None):
            raise ValueError(
                "expected exactly one of model_path and model_content, came "
                f"{'neither' if source is None else 'both'}"
            )
        self.accq_nodes = _accq_nodes(source)
        options: dict[str, object] = {"claim": claim}
        if kernel is not None:
            options["kernel"] = kernel
        if report_path is not None:
            options["report_path"] = os.fspath(report_path)
        delegate = load_delegate(options)
        self._status = _Status.of(delegate)
        others = litert_options.pop("experimental_delegates", None) or []
        try:
            super().__init__(
                model_path=model_path,
                model_content=model_content,
                num_threads=num_threads,
                # Ours first: another delegate must not find our operators without a kernel.
                experimental_delegates=[delegate, *others],
                **litert_options,
            )
        except RuntimeError as error:
            _raise_if_ours(error)
            raise
        self.int8_builtins = int(self._status.builtin_layers)
        self.builtins_elsewhere = int(self._status.layers_elsewhere)
        if self.delegated_nodes != len(self.accq_nodes):
            listed = ", ".join(f"{n.op} {n.name!r}" for n in self.accq_nodes)
            raise DelegateError(
                f"the delegate took {self.delegated_nodes} of the {len(self.accq_nodes)} "
                f"keras-accq operators of {self._model_name}, which are: {listed}. Another "
                "delegate or a newer runtime may be in the way"
            )

    @property
    def delegated_nodes(self) -> int:
        """How many keras-accq operators the delegate runs in this interpreter, by its own count."""
        return int(self._status.nodes - self._status.builtin_nodes)

    @property
    def delegated_builtins(self) -> int:
        """How many built-in operators the delegate runs here, which claim="builtin" allows it."""
        return int(self._status.builtin_nodes)

    def allocate_tensors(self) -> None:
        """Sets all shapes and gives every tensor memory.

        Raises:
            DelegateError: A shape does not suit one of our operators; the text names it.
            RuntimeError: The same from another operator.
        """
        try:
            super().allocate_tensors()
        except RuntimeError as error:
            _raise_if_ours(error)
            raise

    def __repr__(self) -> str:
        builtins = ""
        if self.int8_builtins:
            builtins = f" and {self.delegated_builtins} of {self.int8_builtins} int8 built-ins"
        return (
            f"<keras_accq.Interpreter of {self._model_name}: the delegate runs "
            f"{self.delegated_nodes} of {len(self.accq_nodes)} keras-accq operators{builtins}>"
        )


class _Status(ctypes.Structure):
    """What the delegate tells of itself: `DelegateStatus` in tflite_kernels/delegate/delegate.h."""

    _fields_ = (
        ("magic", ctypes.c_char * 8),
        ("nodes", ctypes.c_int64),
        ("builtin_nodes", ctypes.c_int64),
        ("builtin_layers", ctypes.c_int64),
        ("layers_elsewhere", ctypes.c_int64),
    )

    @classmethod
    def of(cls, delegate: litert.Delegate) -> "_Status":
        # The first field of a TfLiteDelegate points to the status.
        address = ctypes.c_void_p.from_address(delegate._get_native_delegate_pointer()).value
        status = cls.from_address(address) if address else None
        if status is None or status.magic != _MAGIC:
            raise DelegateError(
                f"{delegate_path()} is not the delegate of this keras-accq; reinstall keras-accq, "
                f"or rebuild the library that {_VARIABLE} names"
            )
        # The memory is the delegate's: it must live as long as this view of it.
        status.delegate = delegate
        return status


def _accq_nodes(source: bytes | str | os.PathLike[str]) -> tuple[AccqNode, ...]:
    model = load(source)
    return tuple(
        AccqNode(
            op.subgraph,
            op.index,
            op.name,
            model.subgraphs[op.subgraph].tensors[op.outputs[0]].name if op.outputs else "",
        )
        for op in model.operators()
        if op.custom and op.name in op_options.KEYS
    )


def _raise_if_ours(error: RuntimeError) -> None:
    """Raises the runtime's error as a DelegateError where the text is the delegate's."""
    if "keras-accq:" in str(error):
        raise DelegateError(str(error)) from error

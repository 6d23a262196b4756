"""A `.tflite` file as checked, read-only records."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from keras_accq.errors import InvalidFileError
from keras_accq.tflite.flat import Table, parse
from keras_accq.tflite.schema import OPERATORS, TENSOR_TYPES

# NumPy's type of a tensor's elements, where it has one.
_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT32": np.int32,
    "UINT8": np.uint8,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "INT16": np.int16,
    "COMPLEX64": np.complex64,
    "INT8": np.int8,
    "FLOAT64": np.float64,
    "COMPLEX128": np.complex128,
    "UINT64": np.uint64,
    "UINT32": np.uint32,
    "UINT16": np.uint16,
}
# Bits of an element of the types that NumPy lacks; strings, resources and variants have no size.
_BITS = {"INT4": 4, "UINT4": 4, "INT2": 2, "BFLOAT16": 16, "FLOAT8_E4M3FN": 8, "FLOAT8_E5M2": 8}

# Converters of models over 2 GB write data behind the flatbuffer, at an offset above 1.
_NO_OFFSET = 1

# TFLite's kernels stop at 8; it bounds the product of the dimensions.
_MAX_RANK = 64

_NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Quantization:
    """How a tensor's integers stand for reals: `scale * (integer - zero_point)`.

    Attributes:
        scale: float32, one per tensor or one per slice of `dimension`.
        zero_point: int64, as long as `scale`.
        dimension: The axis of per-channel scales.
        details: The name of a newer kind of quantization (blockwise and so on), or None.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    dimension: int
    details: str | None


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: Its place in the subgraph.
        name: Its name; files can hold several of one name.
        shape: Its dimensions as the file was exported; all are >= 0.
        signature: The same with -1 where the dimension may change.
        type: Schema name of the element type, like "INT8".
        quantization: Its scales, or None when it has none.
        buffer: Index of its buffer.
        raw: Its constant bytes (uint8, a view of the file), or None when it is computed or fed.
        is_variable: It keeps its value between invocations.
        storage: None, or why `raw` is not the plain array ("sparse", "external").
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: str
    quantization: Quantization | None
    buffer: int
    raw: np.ndarray | None = field(repr=False)
    is_variable: bool
    storage: str | None

    @property
    def elements(self) -> int:
        """How many elements the shape holds."""
        return _product(self.shape)

    def array(self) -> np.ndarray:
        """The constant as an array of its shape; a view of the file's bytes.

        Raises:
            ValueError: The tensor is not a plain constant of a type that NumPy has.
        """
        if self.raw is None or self.storage or self.type not in _DTYPES:
            raise ValueError(f"tensor {self.index} ({self.name!r}) is no plain constant")
        return self.raw.view(np.dtype(_DTYPES[self.type]).newbyteorder("<")).reshape(self.shape)


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph.

    Attributes:
        subgraph: The subgraph's place in the model.
        index: The operator's place in the subgraph, which is the order of execution.
        name: Schema name of a built-in, like "CONV_2D", or a custom operator's own name.
        custom: Whether it is a custom operator.
        version: The operator's version.
        inputs: Tensor indices; -1 is an optional input that is left out.
        outputs: Tensor indices.
        options: The built-in's options that the file holds (absent ones have their defaults).
        custom_options: A custom operator's options blob, a view of the file's bytes.
    """

    subgraph: int
    index: int
    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    custom_options: memoryview = field(repr=False)

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name}) of subgraph {self.subgraph}"


@dataclass(frozen=True)
class Subgraph:
    """One graph of the model; operators are in order of execution.

    Attributes:
        index: Its place in the model.
        name: Its name.
        tensors: Its tensors.
        operators: Its operators.
        inputs: Tensor indices of its inputs.
        outputs: Tensor indices of its outputs.
        visible: The tensors that its user can name: inputs, outputs, and those of signatures.
    """

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    visible: frozenset[int]

    @cached_property
    def producers(self) -> dict[int, Operator]:
        """Tensor index -> the operator that computes it."""
        return {t: op for op in self.operators for t in op.outputs if t >= 0}

    @cached_property
    def consumers(self) -> dict[int, list[Operator]]:
        """Tensor index -> the operators that read it, each once."""
        result: dict[int, list[Operator]] = {}
        for op in self.operators:
            for t in set(op.inputs):
                result.setdefault(t, []).append(op)
        return result


@dataclass(frozen=True)
class Model:
    """A `.tflite` file.

    Attributes:
        data: The file's bytes.
        description: The description field, "" when absent.
        subgraphs: Its graphs; the first one is the main one.
        metadata: Name -> content of the metadata entries (the first one of each name), views of
            the file's bytes.
        tree: All tables as parsed, for rewriting; data from behind the flatbuffer is inside.
        unknown: What a newer schema put in that this package can not write back.
    """

    data: bytes = field(repr=False)
    description: str
    subgraphs: tuple[Subgraph, ...]
    metadata: dict[str, memoryview] = field(repr=False)
    tree: Table = field(repr=False)
    unknown: tuple[str, ...]

    def operators(self) -> Iterator[Operator]:
        """All operators of all subgraphs."""
        for subgraph in self.subgraphs:
            yield from subgraph.operators


def load(source: bytes | bytearray | memoryview | str | os.PathLike[str]) -> Model:
    """Reads a `.tflite` file; time and memory are bounded by its size whatever it holds.

    Args:
        source: The file's bytes, or its path.

    Returns:
        The model; arrays in it are views of the file's bytes.

    Raises:
        InvalidFileError: Not a `.tflite` file, truncated, damaged, or with indices, shapes, buffer
            sizes or scales that contradict each other; the text says where, and which file.
        OSError: The path can not be read.
        TypeError: `source` is neither bytes nor a path.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _read(bytes(source))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"expected the bytes or the path of a .tflite file, came {type(source).__name__}"
        )
    with open(source, "rb") as file:
        data = file.read()
    try:
        return _read(data)
    except InvalidFileError as error:
        raise InvalidFileError(f"{os.fspath(source)}: {error}") from None


def _read(data: bytes) -> Model:
    tree, unknown = parse(data)
    if tree.get("version", 0) != 3:
        raise InvalidFileError(
            f"expected a .tflite file of schema version 3, came version {tree.get('version', 0)}"
        )
    if not tree.get("subgraphs"):
        raise InvalidFileError("model: it has no subgraph")
    _inline(data, tree)
    buffers = [
        content if content is not None and content.size else None
        for content in (table.get("data") for table in tree.get("buffers", []))
    ]
    metadata: dict[str, memoryview] = {}
    for i, entry in enumerate(tree.get("metadata", [])):
        index = entry.get("buffer", 0)
        where = f"metadata entry {i}"
        _check_index(index, len(buffers), where, "buffer")
        content = buffers[index]
        metadata.setdefault(_text(entry), (_NOTHING if content is None else content).data)
    for index in np.asarray(tree.get("metadata_buffer", ())).tolist():
        _check_index(index, len(buffers), "metadata_buffer", "buffer")
    codes = [_operator_name(i, code) for i, code in enumerate(tree.get("operator_codes", []))]
    named = _signature_tensors(tree)
    subgraphs = tuple(
        _subgraph(i, graph, buffers, codes, named.get(i, set()))
        for i, graph in enumerate(tree["subgraphs"])
    )
    return Model(
        data=data,
        description=tree.get("description", b"").decode("utf-8", "replace"),
        subgraphs=subgraphs,
        metadata=metadata,
        tree=tree,
        unknown=tuple(unknown),
    )


def _text(table: Table, key: str = "name") -> str:
    return str(table.get(key, b"").decode("utf-8", "replace"))


def _product(dims: Iterable[int]) -> int:
    result = 1
    for dim in dims:
        result *= dim
    return result


def _check_index(index: int, count: int, where: str, what: str, lowest: int = 0) -> None:
    if not lowest <= index < count:
        raise InvalidFileError(
            f"{where}: refers to {what} {index}, but there are {count}; the file is damaged"
        )


def _inline(data: bytes, tree: Table) -> None:
    """Gives buffers and options that lie behind the flatbuffer their place inside it."""
    credit = len(data)  # They do not overlap, so that writing them back can not grow the file.
    places = [
        (f"buffer {i}", table, "data", ("offset", "size"))
        for i, table in enumerate(tree.get("buffers", []))
    ]
    places += [
        (
            f"operator {i} of subgraph {g}",
            table,
            "custom_options",
            ("large_custom_options_offset", "large_custom_options_size"),
        )
        for g, graph in enumerate(tree["subgraphs"])
        for i, table in enumerate(graph.get("operators", []))
    ]
    for where, table, target, (offset_key, size_key) in places:
        if table.get(offset_key, 0) <= _NO_OFFSET:
            continue
        offset, size = table.pop(offset_key), table.pop(size_key, 0)
        credit -= size
        if offset + size > len(data) or credit < 0:
            raise InvalidFileError(
                f"{where}: its data is at offset {offset} with {size} bytes, beyond the file's "
                f"{len(data)} or shared with others; the file is truncated or damaged"
            )
        table[target] = np.frombuffer(data, np.uint8, size, offset)


def _operator_name(index: int, code: Table) -> tuple[str, bool, int]:
    # Old files hold only the deprecated field, which ends at 127; the schema says to take the
    # greater of the two.
    number = max(code.get("builtin_code", 0), code.get("deprecated_builtin_code", 0))
    version = code.get("version", 1)
    if number < 0:
        raise InvalidFileError(f"operator code {index}: its number is {number}, below 0")
    if number >= len(OPERATORS):
        return f"UNKNOWN_{number}", False, version
    if OPERATORS[number] == "CUSTOM":
        return _text(code, "custom_code"), True, version
    return OPERATORS[number], False, version


def _subgraph(
    index: int,
    graph: Table,
    buffers: list[np.ndarray | None],
    codes: list[tuple[str, bool, int]],
    named: set[int],
) -> Subgraph:
    tensors = tuple(
        _tensor(i, table, buffers, f"tensor {i} ({_text(table)!r}) of subgraph {index}")
        for i, table in enumerate(graph.get("tensors", []))
    )

    def references(table: Table, key: str, where: str, lowest: int = 0) -> tuple[int, ...]:
        indices = tuple(np.asarray(table.get(key, ())).tolist())
        for reference in indices:
            _check_index(reference, len(tensors), f"{where}.{key}", "tensor", lowest)
        return indices

    operators = []
    for i, table in enumerate(graph.get("operators", [])):
        where = f"operator {i} of subgraph {index}"
        code = table.get("opcode_index", 0)
        _check_index(code, len(codes), where, "operator code")
        name, custom, version = codes[code]
        references(table, "intermediates", where, lowest=-1)
        operators.append(
            Operator(
                subgraph=index,
                index=i,
                name=name,
                custom=custom,
                version=version,
                inputs=references(table, "inputs", where, lowest=-1),
                # Some runtimes' RNN operators leave out an output, too.
                outputs=references(table, "outputs", where, lowest=-1),
                options=table.get("builtin_options", {}),
                custom_options=table.get("custom_options", _NOTHING).data,
            )
        )
    _check_order(index, tensors, operators)
    inputs = references(graph, "inputs", f"subgraph {index}")
    outputs = references(graph, "outputs", f"subgraph {index}")
    return Subgraph(
        index=index,
        name=_text(graph),
        tensors=tensors,
        operators=tuple(operators),
        inputs=inputs,
        outputs=outputs,
        visible=frozenset(named).union(inputs, outputs),
    )


def _check_order(index: int, tensors: tuple[Tensor, ...], operators: list[Operator]) -> None:
    """Every tensor is computed once, and before it is read: what follows may rely on it."""
    made: dict[int, int] = {}
    for op in operators:
        for tensor in op.outputs:
            if tensor >= 0 and made.setdefault(tensor, op.index) != op.index:
                raise InvalidFileError(
                    f"{op}: computes tensor {tensor} ({tensors[tensor].name!r}), which operator "
                    f"{made[tensor]} has computed already; the file is damaged"
                )
    for op in operators:
        for tensor in op.inputs:
            if made.get(tensor, -1) >= op.index and not tensors[tensor].is_variable:
                raise InvalidFileError(
                    f"{op}: reads tensor {tensor} ({tensors[tensor].name!r}), which only operator "
                    f"{made[tensor]} of subgraph {index} computes; the file is damaged"
                )


def _tensor(index: int, table: Table, buffers: list[np.ndarray | None], where: str) -> Tensor:
    shape = tuple(np.asarray(table.get("shape", ())).tolist())
    if len(shape) > _MAX_RANK:
        raise InvalidFileError(f"{where}: its shape has {len(shape)} dimensions, over {_MAX_RANK}")
    if any(dim < 0 for dim in shape):
        raise InvalidFileError(f"{where}: its shape {list(shape)} has a negative dimension")
    signature = tuple(np.asarray(table.get("shape_signature", shape)).tolist())
    if len(signature) != len(shape):
        raise InvalidFileError(
            f"{where}: its shape {list(shape)} and shape signature {list(signature)} differ in rank"
        )
    number = table.get("type", 0)
    if number < 0:
        raise InvalidFileError(f"{where}: its type number is {number}, below 0")
    kind = TENSOR_TYPES[number] if number < len(TENSOR_TYPES) else f"UNKNOWN_{number}"
    buffer = table.get("buffer", 0)
    # Buffer 0 stands for "none", also in files that leave the list of buffers out.
    if buffer:
        _check_index(buffer, len(buffers), where, "buffer")
    raw = buffers[buffer] if buffer else None
    storage = None
    if "sparsity" in table:
        storage = "sparse"
    elif table.get("external_buffer", 0):
        storage = "external"
    if raw is not None and storage is None:
        bits = np.dtype(_DTYPES[kind]).itemsize * 8 if kind in _DTYPES else _BITS.get(kind)
        expected = None if bits is None else (_product(shape) * bits + 7) // 8
        if expected is not None and raw.size != expected:
            raise InvalidFileError(
                f"{where}: expected {expected} bytes for {kind} of shape {list(shape)}, came "
                f"{raw.size} in buffer {buffer}; the file is damaged"
            )
    return Tensor(
        index=index,
        name=_text(table),
        shape=shape,
        signature=signature,
        type=kind,
        quantization=_quantization(table.get("quantization"), shape, where),
        buffer=buffer,
        raw=raw,
        is_variable=table.get("is_variable", False),
        storage=storage,
    )


def _quantization(table: Table | None, shape: tuple[int, ...], where: str) -> Quantization | None:
    if table is None:
        return None
    details = table["details"].of if "details" in table else None
    scale = table.get("scale", np.empty(0, np.float32))
    zero_point = table.get("zero_point", np.empty(0, np.int64))
    dimension = table.get("quantized_dimension", 0)
    if not scale.size and details is None:
        return None  # Only the range seen while calibrating.
    if not np.isfinite(scale).all():
        raise InvalidFileError(f"{where}: its scales hold a value that is not finite")
    if zero_point.size != scale.size:
        raise InvalidFileError(
            f"{where}: it has {scale.size} scales and {zero_point.size} zero points; they must "
            "be as many"
        )
    if scale.size > 1 and (not 0 <= dimension < len(shape) or shape[dimension] != scale.size):
        raise InvalidFileError(
            f"{where}: it has {scale.size} scales along dimension {dimension}, which its shape "
            f"{list(shape)} does not have"
        )
    return Quantization(scale, zero_point, dimension, details)


def _signature_tensors(tree: Table) -> dict[int, set[int]]:
    result: dict[int, set[int]] = {}
    for i, table in enumerate(tree.get("signature_defs", [])):
        graph = table.get("subgraph_index", 0)
        graphs = tree["subgraphs"]
        _check_index(graph, len(graphs), f"signature {i}", "subgraph")
        for entry in [*table.get("inputs", []), *table.get("outputs", [])]:
            tensor = entry.get("tensor_index", 0)
            _check_index(tensor, len(graphs[graph].get("tensors", [])), f"signature {i}", "tensor")
            result.setdefault(graph, set()).add(tensor)
    return result

"""The exported integers of a model: the records of the JSON file, and the arrays of the `.npz`."""

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_accq.errors import InvalidFileError
from keras_accq.strict_json import decode, parse

FORMAT = "keras-accq integers"
VERSION = 1


@dataclass(frozen=True)
class IntegerTensor:
    """A tensor that is computed or fed.

    Attributes:
        index: The number by which layers and steps name it.
        name: Its name in the file.
        shape: Its dimensions, batch first.
        type: "INT8", "FLOAT32", ...: TFLite's name.
        scale, zero_point: real = scale * (integer - zero_point); None where it has no single grid.
            The scale is a float32 value.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Cells:
    """Which products share an accumulator: see `keras_accq.Partition`."""

    kind: str
    size: int


@dataclass(frozen=True)
class Accumulator:
    """What a layer's sums need.

    Attributes:
        acc_bits: P, claimed by the file; 16 where it claims nothing.
        cells: Which products share an accumulator of P bits; None where nothing is claimed.
        limit: 2^(P-1) - 1.
        worst_case: The largest magnitude of any partial sum within a cell, over all channels.
        fits: Whether that is within the limit.
        least_acc_bits: Of one accumulator for all products.
        largest_safe_tile: The largest T whose runs of T products all fit P bits; 0 if none does.
    """

    acc_bits: int
    cells: Cells | None
    limit: int
    worst_case: int
    fits: bool
    least_acc_bits: int
    largest_safe_tile: int


@dataclass(frozen=True)
class IntegerLayer:
    """One layer of integer dot products. Its arrays are `<index>/weights` and so on.

    Attributes:
        index: Its place in the order of execution, among layers and steps.
        name: Its output tensor's name.
        kind: "conv2d", "depthwise_conv2d", "fully_connected" or "transpose_conv".
        input, output: Tensor indices.
        k: Products per output.
        channels: Output channels.
        in_min, in_max: Stored inputs are clamped to this.
        out_min, out_max: Outputs are clamped to this; holds the activation.
        padding: "SAME" or "VALID", TFLite's; the zero point stands in for inputs that are not
            there.
        filter_h, filter_w, stride_h, stride_w, dilation_h, dilation_w: The window's geometry.
        groups: Of a convolution.
        depth_multiplier: Outputs per input of a depthwise convolution.
        weight_bits, input_bits: Of the narrowest two's complement integers that hold all of them.
        accumulator: What its sums need.
    """

    index: int
    name: str
    kind: str
    input: int
    output: int
    k: int
    channels: int
    in_min: int
    in_max: int
    out_min: int
    out_max: int
    padding: str
    filter_h: int
    filter_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    depth_multiplier: int
    weight_bits: int
    input_bits: int
    accumulator: Accumulator


@dataclass(frozen=True)
class OtherStep:
    """Any other operator.

    Attributes:
        index: Its place in the order of execution, among layers and steps.
        op: TFLite's name of it, like "MAX_POOL_2D".
        inputs, outputs: Tensor indices; -1 for one left out. An input that is neither fed nor
            computed is a constant, the array `tensor/<index>`.
        options: TFLite's options of it, as integers.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class IntegerModel:
    """What `accq.export_integers` wrote: `accq.load_integers` reads it, `run` executes it.

    Attributes:
        package_version: Of the keras-accq that wrote it.
        source_sha256: Of the `.tflite` file that it was made of.
        arrays_sha256: Of the `.npz` file.
        inputs, outputs: Tensor indices, in the model's order.
        tensors: All that are fed or computed.
        layers: The integer dot products.
        steps: All other operators.
        certificate: What `accq.verify` says of the source, as its JSON.
        arrays: Name -> array; see docs/integers.md.
    """

    package_version: str
    source_sha256: str
    arrays_sha256: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[IntegerTensor, ...]
    layers: tuple[IntegerLayer, ...]
    steps: tuple[OtherStep, ...]
    certificate: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def tensor(self, index: int) -> IntegerTensor:
        """The tensor of that index."""
        return next(tensor for tensor in self.tensors if tensor.index == index)

    def run(self, *inputs: Any, accumulators: str = "exact", until: str | None = None) -> Any:
        """Runs samples through the model in NumPy; byte for byte what LiteRT computes.

        Args:
            *inputs: An array per input, samples on the first axis, a multiple of the model's
                batch; in the model's own types.
            accumulators: "exact" sums without a limit. "wrap" and "saturate" sum product by
                product in the P-bit accumulators that each layer claims, slowly: the results are
                the same where the claims hold, which is what a certificate says. Layers that
                claim nothing are summed exactly.
            until: The name of a tensor to compute, for models whose end the reference does not
                know; by default the model's outputs.

        Returns:
            An array, or a tuple of them if the model has several outputs.

        Raises:
            UnsupportedModelError: An operator that the reference does not know is needed.
            ValueError: Inputs that do not match, or an unknown `accumulators` or `until`.
        """
        from keras_accq.integers.run import run

        return run(self, inputs, accumulators, until)


def load_integers(path: str | os.PathLike[str]) -> IntegerModel:
    """Reads what `accq.export_integers` wrote. Needs NumPy only.

    Args:
        path: Of the `.npz`; the `.json` lies beside it.

    Raises:
        InvalidFileError: A file is damaged, of a newer version, or the two do not belong together.
        OSError: A file can not be read.
    """
    arrays_path, json_path = pair(path)
    data = arrays_path.read_bytes()
    what = os.fspath(json_path)
    record = parse(json_path.read_bytes(), what)
    if not isinstance(record, Mapping) or record.get("format") != FORMAT:
        raise InvalidFileError(f'{what}: expected a JSON object with "format": "{FORMAT}"')
    if record.get("version") != VERSION:
        raise InvalidFileError(
            f"{what}: expected version {VERSION}, received {record.get('version')!r}; install the "
            "keras-accq that wrote it, or a newer one"
        )
    content = {key: record[key] for key in record if key not in ("format", "version")}
    if "arrays" in content:
        raise InvalidFileError(f"{what}: unknown 'arrays'; they are in the .npz file")
    model: IntegerModel = decode(IntegerModel, content, what)
    if hashlib.sha256(data).hexdigest() != model.arrays_sha256:
        raise InvalidFileError(
            f"{arrays_path}: these are not the arrays that {json_path.name} belongs to; export "
            "both again"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            model.arrays.update({name: loaded[name] for name in loaded.files})  # type: ignore[attr-defined]
    except (ValueError, zipfile.BadZipFile) as error:
        raise InvalidFileError(f"{arrays_path}: no .npz file: {error}") from error
    return model


def pair(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The `.npz` and the `.json`.

    Raises:
        ValueError: The path does not end in .npz.
    """
    arrays = Path(path)
    if arrays.suffix != ".npz":
        raise ValueError(f"path: expected one that ends in .npz, received {os.fspath(path)!r}")
    return arrays, arrays.with_suffix(".json")

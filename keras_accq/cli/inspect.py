"""Says what is in a .tflite file: its inputs, operators, dot products and what is claimed of them.

Of each dot product it tells products per output (K), channels, multiply-accumulates, the bits
that its weights and inputs really use, and what `accq rewrite` would do with it. Of a .keras model
that accq.quantize made it prints accq.summary.

Examples:
  accq inspect model.tflite
  accq inspect model.tflite --json | jq '.dot_products[].macs'
  accq inspect qmodel.keras
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_accq.cli.common import (
    OK,
    add_json,
    add_model,
    is_keras,
    print_json,
    quantized_model,
    tflite_bytes,
)

HELP = "what is in a model file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, ".tflite or .keras")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if is_keras(arguments.file):
        return _keras(arguments.file, arguments.json)
    found = contents(tflite_bytes(arguments.file))
    if arguments.json:
        print_json(found)
    else:
        print(f"{arguments.file}, {found['bytes']} bytes")
        print(_text(found))
    return OK


def _keras(path: Path, as_json: bool) -> int:
    model = quantized_model(path)
    from keras_accq.summary import summary

    result = summary(model)
    if as_json:
        layers = [asdict(layer) | {"partition": str(layer.partition)} for layer in result.layers]
        print_json({"format": 1, "layers": layers})
    else:
        print(result)
    return OK


def contents(data: bytes) -> dict[str, Any]:
    """All that `accq inspect` tells of a file, as plain values."""
    from keras_accq.tflite.kept import kept_agrees
    from keras_accq.tflite.profile import profile
    from keras_accq.tflite.reader import load
    from keras_accq.verify import verify

    model = load(data)
    certificate = verify(data)
    graph = model.subgraphs[0]
    return {
        "format": 1,
        "bytes": len(data),
        "description": model.description,
        "subgraphs": len(model.subgraphs),
        "inputs": [_tensor(graph.tensors[t]) for t in graph.inputs],
        "outputs": [_tensor(graph.tensors[t]) for t in graph.outputs],
        "operators": dict(Counter(op.name for op in model.operators()).most_common()),
        "metadata": {name: len(content) for name, content in model.metadata.items()},
        "kept_certificate_agrees": kept_agrees(model, certificate),
        "dot_products": [asdict(layer) for layer in profile(model)],
        "verdict": certificate.verdict,
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    quantization = tensor.quantization
    single = quantization is not None and quantization.scale.size == 1
    return {
        "name": tensor.name,
        "shape": list(tensor.signature),
        "type": tensor.type,
        "scale": float(quantization.scale[0]) if single else None,
        "zero_point": int(quantization.zero_point[0]) if single else None,
    }


def _text(found: dict[str, Any]) -> str:
    lines = []
    for role in ("inputs", "outputs"):
        for tensor in found[role]:
            shape = "x".join(map(str, tensor["shape"]))
            grid = ""
            if tensor["scale"] is not None:
                grid = f", scale {tensor['scale']:g}, zero point {tensor['zero_point']}"
            lines.append(f"{role[:-1]}: {tensor['name']} {shape} {tensor['type']}{grid}")
    listed = (f"{count} {name}" for name, count in found["operators"].items())
    lines.append(f"operators: {', '.join(listed)}")
    if found["metadata"]:
        lines.append(f"metadata: {', '.join(found['metadata'])}")
    agrees = found["kept_certificate_agrees"]
    if agrees is not None:
        lines.append(
            "the certificate that it carries is what its bytes give"
            if agrees
            else "the certificate that it carries is NOT what its bytes give"
        )
    lines += ["", _layers(found["dot_products"]), found["verdict"]]
    return "\n".join(lines)


def _layers(layers: Iterable[dict[str, Any]]) -> str:
    from keras_accq.certificate import short_name

    rows = [("op", "name", "operator", "K", "channels", "kMAC", "N", "M", "zeros", "rewrite")]
    for layer in layers:
        usable = layer["reason"] is None
        will = "is ours already" if layer["custom"] else "can be taken"
        rows.append(
            (
                str(layer["index"]),
                short_name(layer["name"]),
                layer["op"],
                *(
                    (
                        str(layer["k"]),
                        str(layer["channels"]),
                        f"{layer['macs'] / 1000:.0f}",
                        str(layer["input_bits"]),
                        str(layer["weight_bits"]),
                        f"{layer['zeros']:.0%}",
                    )
                    if usable
                    else ("?",) * 6
                ),
                will if usable else f"stays: {layer['reason']}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if 3 <= i < 9 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)

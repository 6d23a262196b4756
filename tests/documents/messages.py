"""Every error message in the code, Python and C++, as a template: "expected 0 or 1, got …"."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from native_build import REPOSITORY, SOURCES

ANY = "…"
# Not for users: abstract methods, and steps that Keras catches.
_INTERNAL = ("NotImplementedError", "AttributeError", "StopIteration")
# Python modules whose functions return reasons, which others put into messages.
_REASONS = (
    "graph/affine.py",
    "graph/attention.py",
    "graph/expand.py",
    "graph/supported.py",
    "graph/written_out.py",
    "tflite/fuse.py",
    "tflite/ops.py",
    "tflite/rewrite.py",
    "verify.py",
)
# In kernels/ not the folders of instruction sets, which are inner loops and assembly.
_CPP = ("delegate/*", "kernels/*", "android/**/*")
# Files of C++ whose texts are no messages, and texts that are set into a message of another line.
_NO_CPP_MESSAGES = (
    "buffer.h",
    "delegate.h",
    "phases.cc",
    "testing_api.cc",
)
_CPP_DETAILS = {
    "bias - in_zero * sum(weights)",
    ": install the keras-accq release that wrote the file, or a later one",
    ": give this one to the interpreter before it",
    "dilated filter height",
    "dilated filter width",
    "input zero point",
    "output zero point",
    "output channel …:",
    "output shape, weights, input",
    "phase …, …:",
    "needs to be at least 1",
    "needs to be 0",
}


@functools.cache
def python() -> dict[str, str]:
    """Template -> where it is raised, of everything in keras_accq."""
    found = {}
    for path in sorted((REPOSITORY / "keras_accq").rglob("*.py")):
        where = str(path.relative_to(REPOSITORY))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func)
                if name.split(".")[-1] not in _INTERNAL and node.exc.args:
                    # The first argument that is a text: OSError's first is a number.
                    texts = map(_text, node.exc.args)
                    text = next((t for t in texts if t.strip(ANY)), ANY)
                    found.setdefault(text, f"{where}:{node.lineno}")
            elif any(where.endswith(name) for name in _REASONS):
                for text in _returned(node):
                    found.setdefault(text, f"{where}:{node.lineno}")
    # What is left are messages; "…: …" hands one on inside another.
    return {text: where for text, where in found.items() if re.search("[a-z]", text)}


def _returned(node: ast.AST) -> Iterator[str]:
    """Texts of several words that a statement returns or yields, or puts beside a layer's name."""
    value: ast.AST | None = None
    if isinstance(node, ast.Return):
        value = node.value
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("Error"):
            value = value.args[0]
    elif isinstance(node, ast.ListComp):
        value = node.elt
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield):
        value = node.value.value
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append"):
        value = node.args[0]
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    for part in parts:
        branches = [part.body, part.orelse] if isinstance(part, ast.IfExp) else [part]
        for branch in branches:
            if isinstance(branch, ast.JoinedStr | ast.Constant | ast.BinOp):
                text = _text(branch)
                if len(re.findall(r"[a-z]{2,}", text)) > 2:
                    yield text


def _text(node: ast.expr) -> str:
    """The template of a string expression; what is no literal becomes ANY."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return _squeezed("".join(_text(part) for part in node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _squeezed(_text(node.left) + _text(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        lists = [a for a in node.args if isinstance(a, ast.List) and a.elts]
        if node.func.attr == "join" and lists:
            return _text(lists[0].elts[0]) + ANY
    return ANY


def _squeezed(text: str) -> str:
    return re.sub(f"{ANY}(?:{ANY})+", ANY, text)


@functools.cache
def cpp() -> dict[str, str]:
    """Template -> file, of everything that the delegate and its Java class say."""
    found = {}
    for pattern in _CPP:
        for path in sorted(SOURCES.glob(pattern)):
            if path.suffix in (".cc", ".h", ".java") and path.name not in _NO_CPP_MESSAGES:
                for text in _literals(path):
                    found.setdefault(text, str(path.relative_to(REPOSITORY)))
    return found


def _literals(path: Path) -> Iterator[str]:
    """String literals of three words or more; those that stand together are one."""
    code = re.sub(
        r"^\s*(?://|\*[ /]|\*$|/\*).*$|^#include.*$|\s// .*$", "", path.read_text(), flags=re.M
    )
    code = re.sub(r'malformed\("[^"]*"\)', "", code)  # Details of one message.
    literal = r'"(?:[^"\\\n]|\\.)*"'
    value = r"(?:[\w:.]+(?:\([^()]*(?:\([^()]*\))?\))?)"
    between = rf"\s*(?:\+\s*(?:{value}\s*\+)?|PRI\w+)?\s*"
    for match in re.finditer(rf"{literal}(?:{between}{literal})*(?:\s*\+\s*{value})?", code):
        pieces = re.split(rf"({literal})", match[0])
        text = "".join(
            _literal(piece) if piece.startswith('"') else _value(piece) for piece in pieces
        )
        words = text.replace(ANY, " ").split()
        sentence = len(words) > 2 or (len(words) == 2 and words[0] == "is")
        text = _squeezed(text).strip()
        if sentence and text not in _CPP_DETAILS and not text.startswith(("{", "java/")):
            yield text


def _value(between: str) -> str:
    return ANY if re.search(r"\+\s*\w", between) else ""


def _literal(piece: str) -> str:
    """A C string without quotes; conversions, whole or up to a PRI macro, become ANY."""
    text = re.sub(r"\\(.)", r"\1", piece[1:-1])
    return re.sub(r"%[-+ 0#]*\d*(?:\.\d+)?(?:z|l|ll|h)?(?:[a-zA-Z]|$)", ANY, text)

import importlib
import subprocess
import sys

import pytest

import keras_accq

# Names without a docstring of their own.
_PLAIN = {"__version__"}
_HEAVY = ("tensorflow", "keras", "tf_keras", "ai_edge_litert", "numpy")


def _in_fresh_process(code):
    # -P: only what is installed, or on PYTHONPATH, counts.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_quick():
    code = (
        "import time; start = time.perf_counter(); import keras_accq;"
        "print(time.perf_counter() - start)"
    )
    # The best of three: the machine may be busy, the import may not.
    assert min(float(_in_fresh_process(code)) for _ in range(3)) < 0.3


def test_import_loads_nothing_heavy():
    code = f"import sys, keras_accq; print(sorted(set(sys.modules) & set({_HEAVY})))"
    assert _in_fresh_process(code) == "[]"


@pytest.mark.parametrize("name", ["verify", "rewrite", "Partition", "Certificate"])
def test_reading_files_needs_neither_tensorflow_nor_keras(name):
    code = (
        f"import sys, keras_accq; keras_accq.{name};"
        "print(sorted({'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)))"
    )
    assert _in_fresh_process(code) == "[]"


def test_dir_lists_the_public_names():
    assert dir(keras_accq) == sorted(keras_accq.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        keras_accq.nothing  # noqa: B018


@pytest.mark.parametrize("name", sorted(set(keras_accq.__all__) - _PLAIN))
def test_public_name_resolves_and_is_documented(name):
    value = getattr(keras_accq, name)
    module = importlib.import_module(value.__module__)
    assert getattr(module, name) is value, "exported from another module than the one it names"
    assert value.__doc__, f"keras_accq.{name} has no docstring"
    if isinstance(value, type):
        missing = [
            attribute
            for attribute, member in vars(value).items()
            if not attribute.startswith("_")
            and (callable(member) or isinstance(member, property | classmethod | staticmethod))
            and not getattr(value, attribute).__doc__
        ]
        assert not missing, f"{name}: no docstring for {', '.join(missing)}"

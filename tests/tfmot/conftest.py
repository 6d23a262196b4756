"""Tests of tf_keras models need the extra `tfmot`, which the extra `test` includes."""

import importlib.util
import os

# In CI nothing is left out unseen.
_MISSING = importlib.util.find_spec("tensorflow_model_optimization") is None
collect_ignore_glob = ["test_*.py"] if _MISSING and not os.environ.get("CI") else []

"""One evaluation of a search, where it runs: in this process, a thread, or a worker elsewhere.

A task is small: a recipe, and the key of what all tasks of a search have in common. A worker that
does not hold that yet says so and is sent it with the task once more; it keeps it, and the model it
builds of it (one for each thread), for the tasks to come.
"""

import tempfile
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_accq.graph.absorb import absorb_batch_norms
from keras_accq.graph.expand import expand
from keras_accq.graph.groups import find
from keras_accq.recipe import Recipe
from keras_accq.search.trial import Trial

BATCH = 128
# Searches that a worker remembers.
_KEPT = 2


@dataclass(frozen=True)
class Common:
    """What all evaluations of a search need.

    Attributes:
        model: The float model as a `.keras` file.
        scheme: "fixed_point" or "free".
        excluded: Names of layers that recipes exclude.
        data: Calibration data, a structure of arrays.
        evaluate: Takes a Keras model and gives a number, higher is better; None for agreement with
            the float model.
    """

    model: bytes
    scheme: str
    excluded: frozenset[str]
    data: Any
    evaluate: Callable[[Any], float] | None


@dataclass(frozen=True)
class Task:
    """A recipe to evaluate.

    Attributes:
        key: Of the search.
        recipe: As JSON; it may leave out layers, which stay float.
        common: What the key stands for; None to rely on the worker's memory.
    """

    key: str
    recipe: str
    common: Common | None = None


@dataclass(frozen=True)
class Score:
    """What an evaluation found.

    Attributes:
        metric: Higher is better.
        error: Squared error of the outputs, relative to the float model's (sum over outputs).
    """

    metric: float
    error: float


@dataclass(frozen=True)
class Answer:
    """The end of a task: a score, or none because the worker lacks the search's common part, or
    because the evaluation itself failed (`problem` is its traceback)."""

    score: Score | None = None
    problem: str | None = None


_known: OrderedDict[str, Common] = OrderedDict()
# Models are built by one thread at a time: Keras's registries of names are shared.
_lock = threading.Lock()
_local = threading.local()


def remember(key: str, common: Common) -> None:
    """Keeps the common part of a search in this process."""
    with _lock:
        _known[key] = common
        _known.move_to_end(key)
        while len(_known) > _KEPT:
            _known.popitem(last=False)


def forget(key: str) -> None:
    """Drops the common part of a search that is over."""
    with _lock:
        _known.pop(key, None)
    _local.evaluators = None


def run(task: Task) -> Answer:
    """Evaluates a recipe."""
    if task.common is not None:
        remember(task.key, task.common)
    with _lock:
        common = _known.get(task.key)
    if common is None:
        return Answer()
    try:
        return Answer(_evaluator(task.key, common).score(Recipe.from_json(task.recipe)))
    except Exception:
        # As text: an exception's own class may be unknown where it is read.
        return Answer(problem=traceback.format_exc())


def with_common(task: Task, common: Common) -> Task:
    return replace(task, common=common)


def _evaluator(key: str, common: Common) -> "_Evaluator":
    kept = getattr(_local, "evaluators", None)
    if kept is None or kept[0] != key:
        with _lock:
            _local.evaluators = kept = (key, _Evaluator(common))
    evaluator: _Evaluator = kept[1]
    return evaluator


class _Evaluator:
    def __init__(self, common: Common) -> None:
        graph = expand(model_from(common.model))
        if common.scheme == "fixed_point":
            graph = absorb_batch_norms(graph)
        self._trial = Trial(graph, find(graph), set(common.excluded))
        self._data = common.data
        self._evaluate = common.evaluate
        self._float = self._outputs()

    def score(self, recipe: Recipe) -> Score:
        self._trial.apply(recipe)
        outputs = self._outputs()
        metric = agreement(outputs, self._float)
        if self._evaluate is not None:
            metric = float(self._evaluate(self._trial.model))
            if not np.isfinite(metric):
                raise ValueError(f"evaluate: expected a finite number, received {metric}")
        return Score(metric, relative_error(outputs, self._float))

    def _outputs(self) -> list[Any]:
        return outputs(self._trial.model, self._data)


def outputs(model: Any, data: Any) -> list[Any]:
    """A model's outputs on calibration data, as a flat list of float32 arrays."""
    count = len(keras.tree.flatten(data)[0])
    parts = []
    for start in range(0, count, BATCH):
        batch = keras.tree.map_structure(lambda a, at=start: a[at : at + BATCH], data)
        # Not predict, which builds and traces a pipeline for its data on every call.
        parts.append(keras.tree.flatten(model.predict_on_batch(batch)))
    return [np.concatenate(pieces).astype(np.float32) for pieces in zip(*parts, strict=True)]


def agreement(outputs: list[Any], floats: list[Any]) -> float:
    """How well outputs agree with the float model's: higher is better.

    For a classifier, one output [examples, classes], the fraction of examples with the same
    largest class; otherwise minus `relative_error`.
    """
    (first, *more), (float_first, *_) = outputs, floats
    if not more and first.ndim == 2 and first.shape[1] > 1:
        return float(np.mean(first.argmax(axis=1) == float_first.argmax(axis=1)))
    return -relative_error(outputs, floats)


def relative_error(outputs: list[Any], floats: list[Any]) -> float:
    """Σ over outputs of mean (y - f)² / mean f², in float64."""
    total = 0.0
    for y, f in zip(outputs, floats, strict=True):
        wanted = f.astype(np.float64)
        energy = float(np.mean(wanted**2))
        total += float(np.mean((y - wanted) ** 2)) / (energy or 1.0)
    return total


def model_bytes(model: Any) -> bytes:
    """A Keras model as the bytes of a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def model_from(data: bytes) -> Any:
    """The model that `model_bytes` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        return keras.models.load_model(path, compile=False)

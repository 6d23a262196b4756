"""De Bruin, Zivkovic and Corporaal's search for the widths of each layer (2020), rebuilt.

"Quantization of deep neural networks for accumulator-constrained processors" (Microprocessors and
Microsystems 72) chooses the bit widths of data and weights for a given accumulator and tests only
configurations that use it fully. The full text was not at hand; `docs/methods/search.md` says what
of this is theirs and what is a reconstruction.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import keras
import numpy as np

import keras_accq
from keras_accq.calibration import measure
from keras_accq.errors import SearchInterrupted
from keras_accq.graph.absorb import absorb_batch_norms
from keras_accq.graph.expand import expand
from keras_accq.graph.groups import find
from keras_accq.graph.nodes import Graph
from keras_accq.graph.supported import Kind, check, check_fixed_point, kind
from keras_accq.layers.kernels import to_matrix
from keras_accq.quantize import quantize
from keras_accq.recipe import SCHEMES, LayerRecipe, Provenance, Recipe
from keras_accq.search import work
from keras_accq.search.candidates import BOUNDS, Candidate, Settings, candidates
from keras_accq.search.checkpoint import Checkpoint
from keras_accq.search.data import collect, sha256
from keras_accq.search.run import Runner
from keras_accq.search.work import Score
from keras_accq.settings import LayerSettings, resolve

Evaluate = Callable[[keras.Model], float]

# Metrics and errors that differ by less, relatively, count as equal: so much may come of another
# order of float32 sums.
_EQUAL_METRICS = 1e-6
_EQUAL_ERRORS = 1e-4


def search(
    model: keras.Model,
    acc_bits: int,
    calibration_data: Any,
    evaluate: Evaluate | None = None,
    *,
    scheme: str = "fixed_point",
    bound: str = "exact",
    tile: int | None = None,
    exclude: str | Iterable[str] = (),
    refine: bool = False,
    fine_tune: Callable[[keras.Model], Any] | None = None,
    executor: Executor | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Recipe:
    """The bit widths of data and weights, layer by layer, with which a model does best.

    For each tensor that layers read, in topological order: all widths N of the data with the widest
    weights that fill the accumulator then (`search.candidates`) are tried with the layers before
    quantized as decided and those after in float, and the best is kept. At most 7 evaluations for
    each tensor, instead of 7 to the power of their number.

    Args:
        model: A built Keras 3 float model, which is left as it is.
        acc_bits: P, 2..32.
        calibration_data: As for `accq.quantize`. All of it is held in memory.
        evaluate: Takes a Keras model (one that computes what the quantized one would) and returns a
            number, higher is better. None for the fraction of calibration examples whose largest
            class is the float model's, or for models that are no classifiers minus the relative
            squared error of the outputs. Of equal numbers the smaller squared error of the outputs
            on the calibration data counts, then the wider data.
        scheme: "fixed_point", power-of-two scales; or "free".
        bound: "exact", what the real weights can reach; "type", what any weights of M bits can.
        tile: Consecutive weights, in file order, that share an accumulator; None, all of a channel.
        exclude: Layers left unconstrained, at 8 bits: as for `accq.quantize`.
        refine: Go over all tensors once more, each with all others quantized as decided.
        fine_tune: Takes the quantized model of the result and trains it, in place; the metric
            afterwards is recorded. Widths, scales and ranges of the Recipe stay as found.
        executor: Runs evaluations in parallel: any `concurrent.futures.Executor`, such as a
            ThreadPoolExecutor, a ProcessPoolExecutor (of the "spawn" start method) or Dask's
            `Client.get_executor()`. None for one after the other. The Recipe is the same.
        checkpoint: A file for the scores found so far. If it exists, the search goes on with it.
        progress: Whether to draw a progress bar.

    Returns:
        A Recipe for `accq.quantize(model, recipe=...)`. Its provenance holds the settings, the
        calibration data's hash, the metric of the whole quantized model, and every step's scores.

    Raises:
        UnsupportedModelError: As `accq.quantize`.
        BudgetError: No widths of some layer fit, naming it and the least P that would do.
        SearchInterrupted: The executor failed, saying how to go on.
        EvaluationError: `evaluate` failed in a worker, with its traceback.
        InvalidFileError: The checkpoint is something else.
        TypeError, ValueError: Bad arguments or data; a checkpoint of another search; `evaluate`
            returns no finite number.
    """
    for name, value, expected in (("scheme", scheme, SCHEMES), ("bound", bound, BOUNDS)):
        if value not in expected:
            raise ValueError(f"{name}: expected one of {expected}, received {value!r}")
    graph = expand(model)
    check(graph)
    if scheme == "fixed_point":
        check_fixed_point(graph)
        graph = absorb_batch_norms(graph)
    settings = Settings(acc_bits, scheme, bound, tile)
    layers = layers_to_decide(graph, settings, exclude)
    data = collect(graph, calibration_data)
    groups = find(graph)
    kernels = kernel_matrices(graph)
    choices = {
        group.name: candidates(group, layers, kernels, measurement, settings)
        for group, measurement in zip(groups, measure(graph, groups, data), strict=True)
    }
    asked = {
        "acc_bits": acc_bits,
        "scheme": scheme,
        "bound": bound,
        "tile": tile,
        "exclude": sorted(name for name, layer in layers.items() if layer.excluded),
        "refine": refine,
        "evaluate": None if evaluate is None else getattr(evaluate, "__qualname__", "callable"),
    }
    data_sha256 = sha256(data)
    fingerprint = {
        "model": _model_sha256(graph),
        "data_sha256": data_sha256,
        "package_version": keras_accq.__version__,
        **asked,
    }
    common = work.Common(
        work.model_bytes(model),
        scheme,
        frozenset(name for name, layer in layers.items() if layer.excluded),
        data,
        evaluate,
    )
    empty = Recipe(
        model.name, scheme, (), (), Provenance("accq.search", keras_accq.__version__, asked)
    )
    known = Checkpoint(checkpoint, fingerprint)
    runner = Runner(uuid.uuid4().hex, common, executor)
    try:
        steps = _Steps(empty, list(layers), choices, runner, known, refine, progress)
        found = steps.run()
    except SearchInterrupted as error:
        raise SearchInterrupted(_how_to_go_on(error, known, checkpoint)) from error
    finally:
        runner.close()
    metrics = _metrics(model, found, data, evaluate, fine_tune)
    return replace(
        found,
        provenance=replace(
            found.provenance,
            data_sha256=data_sha256,
            metrics={**metrics, "steps": steps.scores},
        ),
    )


class _Steps:
    """The decisions of a search, one tensor after the other.

    Attributes:
        scores: By step, the metric of each candidate's N.
    """

    def __init__(
        self,
        empty: Recipe,
        order: Sequence[str],
        choices: dict[str, list[Candidate]],
        runner: Runner,
        known: Checkpoint,
        refine: bool,
        progress: bool,
    ) -> None:
        self._empty = empty
        self._order = order
        self._choices = choices
        self._runner = runner
        self._known = known
        self._sweeps = ("choose", "refine") if refine else ("choose",)
        self.scores: dict[str, dict[str, float]] = {}
        # A tensor with one candidate needs no evaluation.
        self._total = len(self._sweeps) * sum(
            len(found) for found in choices.values() if len(found) > 1
        )
        self._bar = keras.utils.Progbar(self._total, unit_name="evaluation") if progress else None
        self._done = 0

    def run(self) -> Recipe:
        decided: dict[str, Candidate] = {}
        for sweep in self._sweeps:
            for name, found in self._choices.items():
                decided[name] = self._best(f"{sweep} {name}", name, found, decided)
        return self._recipe(decided)

    def _best(
        self, step: str, name: str, found: list[Candidate], decided: dict[str, Candidate]
    ) -> Candidate:
        if len(found) == 1:
            return found[0]
        names = [f"{step} {candidate.bits}" for candidate in found]
        unknown = [index for index, key in enumerate(names) if self._known.get(key) is None]
        self._advance(len(found) - len(unknown))

        def done(position: int, score: Score) -> None:
            self._known.put(names[unknown[position]], score)
            self._advance(1)

        recipes = [self._recipe({**decided, name: found[index]}) for index in unknown]
        self._runner.scores([recipe.to_json() for recipe in recipes], done)
        scores = [score for key in names if (score := self._known.get(key)) is not None]
        self.scores[step] = {
            str(candidate.bits): score.metric
            for candidate, score in zip(found, scores, strict=True)
        }
        return found[best(scores)]

    def _advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None and count:
            self._bar.update(self._done)

    def _recipe(self, decided: dict[str, Candidate]) -> Recipe:
        layers = {layer.name: layer for c in decided.values() for layer in c.layers}
        return replace(
            self._empty,
            layers=tuple(layers[name] for name in self._order if name in layers),
            tensors=tuple(decided[name].tensor for name in self._choices if name in decided),
        )


def best(scores: Sequence[Score]) -> int:
    """The position of the best score: by metric, then by error, then the first."""
    highest = max(score.metric for score in scores)
    level = highest - _EQUAL_METRICS * max(1.0, abs(highest))
    among = [index for index, score in enumerate(scores) if score.metric >= level]
    least = min(scores[index].error for index in among)
    return next(i for i in among if scores[i].error <= least * (1 + _EQUAL_ERRORS))


def layers_to_decide(
    graph: Graph, settings: Settings, exclude: str | Iterable[str]
) -> dict[str, LayerRecipe]:
    """All compute layers, without widths as yet, in topological order."""
    nodes = [node for node in graph.nodes if kind(node.layer) is Kind.COMPUTE]
    defaults = LayerSettings(settings.acc_bits, None, None, settings.tile, "round")
    resolved = resolve(list(dict.fromkeys(node.name for node in nodes)), defaults, exclude, None)
    layers = {}
    for node in nodes:
        shape = tuple(int(size) for size in node.layer.kernel.shape)
        layers[node.name] = (
            LayerRecipe(node.name, shape, None, 8, 8)
            if resolved[node.name].exclude
            else LayerRecipe(
                node.name, shape, settings.acc_bits, 8, 8, settings.tile, "round", {}, ()
            )
        )
    return layers


def kernel_matrices(graph: Graph) -> dict[str, Any]:
    """The kernels of all compute layers, float64 [K, channels]."""
    return {
        node.name: to_matrix(
            node.layer, keras.ops.convert_to_numpy(node.layer.kernel).astype(np.float64)
        )
        for node in graph.nodes
        if kind(node.layer) is Kind.COMPUTE
    }


def _model_sha256(graph: Graph) -> str:
    """A hash of the layers' names, classes and weights."""
    digest = hashlib.sha256()
    for node in (*graph.inputs, *graph.nodes):
        digest.update(f"{node.name} {type(node.layer).__name__}".encode())
        digest.update(sha256([keras.ops.convert_to_numpy(w) for w in node.layer.weights]).encode())
    return digest.hexdigest()


def _how_to_go_on(
    error: SearchInterrupted, known: Checkpoint, path: str | os.PathLike[str] | None
) -> str:
    if path is None:
        advice = "with checkpoint= a search can go on where it stopped"
    else:
        advice = (
            f"its scores are in {os.fspath(path)!r}: call accq.search again with the same "
            "arguments and a new executor to go on"
        )
    return f"{error} after {len(known)} evaluations; {advice}"


def _metrics(
    model: keras.Model,
    recipe: Recipe,
    data: Any,
    evaluate: Evaluate | None,
    fine_tune: Callable[[keras.Model], Any] | None,
) -> dict[str, Any]:
    """Of the whole quantized model."""
    qmodel = quantize(model, recipe=recipe)
    floats = work.outputs(model, data)

    def metric() -> float:
        if evaluate is not None:
            return float(evaluate(qmodel))
        return work.agreement(work.outputs(qmodel, data), floats)

    metrics = {
        "metric": metric(),
        "output_error": work.relative_error(work.outputs(qmodel, data), floats),
    }
    if fine_tune is not None:
        fine_tune(qmodel)
        metrics["metric_after_fine_tuning"] = metric()
    return metrics

"""Timing of alternatives in one process, in turns, so that a change of the machine hits all."""

import time
from collections.abc import Callable, Sequence
from statistics import median


def medians(
    runs: Sequence[Callable[[], object]],
    *,
    samples: int,
    sample_seconds: float = 1e-3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds per call of each of `runs`.

    Args:
        runs: What to time; each is called a few times first.
        samples: How often each is measured.
        sample_seconds: A measurement repeats its call until it takes about this long.
        clock: `time.process_time` for the processor time of all threads.
    """
    return [median(taken) for taken in _in_turns(runs, samples, sample_seconds, clock)]


def fastest(
    runs: Sequence[Callable[[], object]], *, samples: int, sample_seconds: float = 1e-3
) -> list[float]:
    """As `medians`, but the least of each: what else a machine does only ever adds time."""
    return [min(taken) for taken in _in_turns(runs, samples, sample_seconds, time.perf_counter)]


def _in_turns(
    runs: Sequence[Callable[[], object]],
    samples: int,
    sample_seconds: float,
    clock: Callable[[], float],
) -> list[list[float]]:
    repeats = []
    for run in runs:
        for _ in range(3):
            run()
        start = time.perf_counter()
        run()
        repeats.append(max(1, round(sample_seconds / (time.perf_counter() - start))))
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(samples):
        for run, repeat, taken in zip(runs, repeats, seconds, strict=True):
            start = clock()
            for _ in range(repeat):
                run()
            taken.append((clock() - start) / repeat)
    return seconds

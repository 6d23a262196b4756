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
        clock: Seconds; `time.thread_time`, which stands still while another process has the
            processor, for calls that work in the calling thread on a machine that is busy.
    """
    repeats = []
    for run in runs:
        for _ in range(3):
            run()
        start = clock()
        run()
        repeats.append(max(1, round(sample_seconds / (clock() - start))))
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(samples):
        for run, repeat, taken in zip(runs, repeats, seconds, strict=True):
            start = clock()
            for _ in range(repeat):
                run()
            taken.append((clock() - start) / repeat)
    return [median(taken) for taken in seconds]

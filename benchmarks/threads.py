"""What threads are worth: one convolution of about 100 MMAC with 1 and with N threads.

    python benchmarks/threads.py [--threads 2] [--size 3x3x96x96x32x38] [--hide-avx512]

Stock LiteRT and ours, constrained weights and others, take turns in one process. Prints the medians
and the fastest of each: on a machine that does other things too, N processors are free at once only
now and then, and the fastest tells what the threads can do.
"""

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Stock
from synthetic import convolution

import keras_accq as accq
from keras_accq.bench.measure import cpu_name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", default="3x3x96x96x32x38", help="KHxKWxCINxCOUTxHxW")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, for each row")
    parser.add_argument("--hide-avx512", action="store_true", help="see hide_avx512.py")
    arguments = parser.parse_args()
    machine = cpu_name()
    if arguments.hide_avx512:
        from hide_avx512 import hide_avx512

        hide_avx512()
        machine += ", AVX-512 and VNNI hidden"
    many = arguments.threads
    print(f"convolution {arguments.size}, {machine}; us, medians (fastest)")
    print(f"| weights | runtime | 1 thread | {many} threads | ratio of medians | of the fastest |")
    print("|---|---|--:|--:|--:|--:|")
    for weights in ("constrained", "normal"):
        ours = accq.rewrite(convolution(arguments.size, weights=weights)).model
        stock = accq.rewrite(ours, ops="builtin").model
        runs = {
            (name, threads): _prepared(interpreter(model_content=model, num_threads=threads))
            for name, interpreter, model in (
                ("stock", Stock, stock),
                ("ours", accq.Interpreter, ours),
            )
            for threads in (1, many)
        }
        seconds = _in_turns(runs, arguments.seconds)
        for name in ("stock", "ours"):
            one, more = seconds[name, 1], seconds[name, many]
            print(
                f"| {weights} | {name} | {1e6 * median(one):.0f} ({1e6 * min(one):.0f}) | "
                f"{1e6 * median(more):.0f} ({1e6 * min(more):.0f}) | "
                f"{median(one) / median(more):.2f} | {min(one) / min(more):.2f} |",
                flush=True,
            )
    return 0


def _prepared(interpreter: Stock) -> Callable[[], None]:
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    value = np.random.default_rng(0).integers(-128, 128, detail["shape"])
    interpreter.set_tensor(detail["index"], value.astype(np.int8))
    interpreter.invoke()
    return interpreter.invoke


def _in_turns(
    runs: dict[tuple[str, int], Callable[[], None]], limit: float
) -> dict[tuple[str, int], list[float]]:
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        for key, run in runs.items():
            run()  # the threads of the one before may still be looking for work
            start = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    sys.exit(main())

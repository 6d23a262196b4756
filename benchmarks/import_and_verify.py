"""Time of `import keras_accq` in a fresh process and of `accq.verify` on a file.

    python benchmarks/import_and_verify.py [model.tflite]

Without a file, verify reads one of about 4 MB: a convolution of 3x3, 680 to 680 channels.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import keras_accq as accq

REPEATS = 5
IMPORT = "import time; t = time.perf_counter(); import keras_accq; print(time.perf_counter() - t)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a .tflite file")
    arguments = parser.parse_args()

    imports = [
        float(subprocess.check_output([sys.executable, "-c", IMPORT])) for _ in range(REPEATS)
    ]
    print(f"import keras_accq: {median(imports):.3f} s (median of {REPEATS} processes)")

    if arguments.model:
        data = Path(arguments.model).read_bytes()
    else:
        from synthetic import convolution

        data = convolution("3x3x680x680x16x16")
    accq.verify(data)  # the first call imports what it needs
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        accq.verify(data)
        seconds.append(time.perf_counter() - start)
    print(f"verify {len(data) / 1e6:.1f} MB: {median(seconds):.3f} s (median of {REPEATS} calls)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

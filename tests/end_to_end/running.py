"""Running `.tflite` files one example at a time."""

import numpy as np


def outputs(interpreter_class, path, inputs, **options) -> list[np.ndarray]:
    """All outputs for a batch of examples, in the order of the file.

    Args:
        interpreter_class: LiteRT's or `accq.Interpreter`.
        path: The file, of batch 1.
        inputs: One array per input, in the file's order and types, batch first.
    """
    interpreter = interpreter_class(model_path=str(path), **options)
    interpreter.allocate_tensors()
    entries = interpreter.get_input_details()
    results = []
    for example in zip(*inputs, strict=True):
        for entry, array in zip(entries, example, strict=True):
            interpreter.set_tensor(entry["index"], array[None])
        interpreter.invoke()
        results.append(
            [interpreter.get_tensor(o["index"])[0] for o in interpreter.get_output_details()]
        )
    return [np.stack(column) for column in zip(*results, strict=True)]

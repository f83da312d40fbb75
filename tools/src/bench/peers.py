"""Runs ONNX models in other runtimes.

Arguments: folder with {index}.onnx and {index}.f32 (the images), threads. First one line of JSON out:
names of the runtimes, packages that are missing. Then a line "index runs channels side" in; out, for
each runtime in turn, a line of JSON with the first call's outputs and the times of `runs` more, in ns.
"""

import json
import pathlib
import sys
import time

FOLDER, THREADS = pathlib.Path(sys.argv[1]), int(sys.argv[2])


def onnx_runtime():
    import numpy  # noqa: F401
    import onnxruntime

    def load(path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        return lambda images: session.run(None, {"images": images})[0]

    return f"ONNX Runtime {onnxruntime.__version__}", load


def pytorch():
    import numpy  # noqa: F401
    import onnx
    import torch
    import torch.nn.functional as f

    torch.set_num_threads(THREADS)

    def conv(a, x, weight, bias=None):
        pads, strides = a.get("pads", [0]), a.get("strides", [1, 1])
        return f.conv2d(x, weight, bias, strides, pads[0], 1, a.get("group", 1))

    operators = {
        "Conv": conv,
        "Relu": lambda a, x: f.relu(x),
        "HardSigmoid": lambda a, x: f.hardsigmoid(x),
        "Mul": lambda a, x, y: x * y,
        "Add": lambda a, x, y: x + y,
        "GlobalAveragePool": lambda a, x: f.adaptive_avg_pool2d(x, 1),
        "Flatten": lambda a, x: torch.flatten(x, a["axis"]),
        "Gemm": lambda a, x, weight, bias: f.linear(x, weight, bias),
    }

    def load(path):
        graph = onnx.load(path).graph
        known = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
        nodes = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            nodes.append((operators[node.op_type], attributes, list(node.input), node.output[0]))
        # h-swish, which the models spell as x·h-sigmoid(x), is one operator here.
        gates = {o: i[0] for op, _, i, o in nodes if op is operators["HardSigmoid"]}
        swish = {i[1]: i[0] for op, _, i, _ in nodes if op is operators["Mul"] and gates.get(i[1]) == i[0]}
        merged = []
        for op, attributes, inputs, output in nodes:
            if op is operators["Mul"] and inputs[1] in swish:
                merged.append((lambda a, x: f.hardswish(x), {}, [inputs[0]], output))
            elif output not in swish:
                merged.append((op, attributes, inputs, output))

        def run(images):
            with torch.inference_mode():
                values = dict(known, images=torch.from_numpy(images))
                for op, attributes, inputs, output in merged:
                    values[output] = op(attributes, *(values[name] for name in inputs))
                return values[merged[-1][3]].numpy()

        return run

    return f"PyTorch {torch.__version__}", load


def main():
    peers, missing = [], []
    for peer in onnx_runtime, pytorch:
        try:
            peers.append((*peer(), {}))
        except ImportError as error:
            name = (error.name or str(error)).split(".")[0]
            if name not in missing:
                missing.append(name)
    print(json.dumps({"names": [name for name, _, _ in peers], "missing": missing}), flush=True)
    for line in sys.stdin:
        import numpy

        index, runs, channels, side = map(int, line.split())
        path = str(FOLDER / f"{index}.onnx")
        images = numpy.fromfile(FOLDER / f"{index}.f32", numpy.float32)
        images = images.reshape(-1, channels, side, side)
        for _, load, loaded in peers:
            if index not in loaded:
                loaded[index] = load(path)
            run, times = loaded[index], []
            outputs = run(images)
            for _ in range(runs):
                start = time.perf_counter_ns()
                run(images)
                times.append(time.perf_counter_ns() - start)
            # Before the answer: threads that still spin for more work are not to slow down who comes
            # next, who runs as soon as it has read the answer.
            time.sleep(0.02)
            print(json.dumps({"outputs": outputs.ravel().tolist(), "times_ns": times}), flush=True)


main()

"""Runs ONNX models in other runtimes.

Arguments: folder with {index}.onnx and {index}.f32 (the images), threads, cpu or cuda. First one line
of JSON out: names of the runtimes, packages that are missing. Then a line "index runs channels side"
in; out, for each runtime in turn, a line of JSON with the first call's outputs and the times of `runs`
more, in ns: on a CPU those of whole calls by the host's clock, on a GPU those of the network on images
that are there already, by the GPU's events.
"""

import json
import pathlib
import sys
import time

FOLDER, THREADS, DEVICE = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def on_host(run):
    """Outputs of a call on images of the host, and times of calls."""

    def times(images, runs):
        found = []
        for _ in range(runs):
            start = time.perf_counter_ns()
            run(images)
            found.append(time.perf_counter_ns() - start)
        return found

    return run, times


def onnx_runtime():
    import numpy  # noqa: F401
    import onnxruntime

    def load(path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        return on_host(lambda images: session.run(None, {"images": images})[0])

    return f"ONNX Runtime {onnxruntime.__version__}", load


def pytorch(mode):
    """`mode`: cpu, or on a GPU eager or graph."""
    import numpy  # noqa: F401
    import onnx
    import torch
    import torch.nn.functional as f

    torch.set_num_threads(THREADS)
    device = "cpu" if mode == "cpu" else "cuda"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ImportError("torch with CUDA", name="torch with CUDA and a GPU")
        # Outputs are compared within 1e-4: full precision on both sides, and the fastest algorithms.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = True

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
        known = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()).to(device) for t in graph.initializer}
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

        def network(images):
            values = dict(known, images=images)
            for op, attributes, inputs, output in merged:
                values[output] = op(attributes, *(values[name] for name in inputs))
            return values[merged[-1][3]]

        def on_cpu(images):
            with torch.inference_mode():
                return network(torch.from_numpy(images)).numpy()

        if mode == "cpu":
            return on_host(on_cpu)

        # Made for the images of the first call.
        made = {}

        def prepared(images):
            if not made:
                there = made["images"] = torch.from_numpy(images).to(device)
                beside = torch.cuda.Stream()
                beside.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(beside):
                    for _ in range(3):
                        made["logits"] = network(there)
                torch.cuda.current_stream().wait_stream(beside)
                if mode == "graph":
                    graph = made["graph"] = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph):
                        made["logits"] = network(there)

        def once():
            if mode == "graph":
                made["graph"].replay()
            else:
                made["logits"] = network(made["images"])

        def on_gpu(images):
            with torch.inference_mode():
                prepared(images)
                made["images"].copy_(torch.from_numpy(images))
                once()
                return made["logits"].cpu().numpy()

        def times(images, runs):
            with torch.inference_mode():
                prepared(images)
                found = []
                for _ in range(runs):
                    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    torch.cuda.synchronize()
                    start.record()
                    once()
                    end.record()
                    end.synchronize()
                    found.append(round(start.elapsed_time(end) * 1e6))
                return found

        return on_gpu, times

    name = f"PyTorch {torch.__version__}"
    return {"cpu": name, "eager": f"{name} eager", "graph": f"{name} CUDA graph"}[mode], load


def main():
    peers, missing = [], []
    known = {
        "cpu": [onnx_runtime, lambda: pytorch("cpu")],
        "cuda": [lambda: pytorch("eager"), lambda: pytorch("graph")],
    }
    for peer in known[DEVICE]:
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
            run, times = loaded[index]
            answer = {"outputs": run(images).ravel().tolist(), "times_ns": times(images, runs)}
            # Before the answer: threads that still spin for more work are not to slow down who comes
            # next, who runs as soon as it has read the answer.
            time.sleep(0.02)
            print(json.dumps(answer), flush=True)


main()

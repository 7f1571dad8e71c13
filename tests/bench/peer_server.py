"""One peer as a process that stays alive: it reads a command a line and answers with a line of JSON.

  run                               runs the network once: {"seconds": s}; the results are kept
  write STEM                        writes the kept results, channels last: STEM.0.npy is the full-resolution output,
                                    STEM.1.npy and on the pooled encoder stages
  layer IN SKIP OUT STRIDE H W D    times one bare 3x3x3 convolution of IN + SKIP channels, no bias (PyTorch only)

The first line that it prints, unasked, is {"version": ...}. A failure is {"error": ...}. What the peer's own libraries
print goes to the standard error. peers.py starts it; its environment has the limits on threads and instruction sets.
"""
import argparse
import json
import os
import sys
import time

import numpy as np

import peer_network as network


def pool(layout):
    """Average pooling as a mean over split axes: avg_pool3d is several times slower here and knows no bf16."""
    import torch

    def channels_first(x, side):
        batch, channels, h, w, d = x.shape
        return x.reshape(batch, channels, h // side, side, w // side, side, d // side, side).mean((3, 5, 7))

    def channels_last(x, side):
        x = x.permute(0, 2, 3, 4, 1)
        batch, h, w, d, channels = x.shape
        x = x.reshape(batch, h // side, side, w // side, side, d // side, side, channels)
        return x.mean((2, 4, 6)).permute(0, 4, 1, 2, 3)

    return channels_first if layout == torch.contiguous_format else channels_last


class Torch:
    """Eager or compiled, contiguous or channels_last_3d, f32 or all bf16."""

    def __init__(self, arguments):
        import torch

        self.torch = torch
        self.version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
        torch.set_num_threads(arguments.threads)
        self.dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
        self.layout = torch.channels_last_3d if arguments.channels_last else torch.contiguous_format
        self.layer_key = None
        if arguments.weights is None:
            return
        from safetensors.torch import load_file

        import peer_backbones

        model = peer_backbones.NETWORKS[arguments.network](network.INPUTS, pool(self.layout)).eval()
        model.load_state_dict(load_file(arguments.weights), strict=True)
        self.model = model.to(dtype=self.dtype, memory_format=self.layout)
        window = load_file(arguments.window)["x"].permute(0, 4, 1, 2, 3)
        self.x = window.to(self.dtype).contiguous(memory_format=self.layout)
        if arguments.compile:
            import torch._inductor.config as inductor

            inductor.freezing = True
            if arguments.isa == "avx2":
                inductor.cpp.simdlen = 256
            self.model = torch.compile(self.model, dynamic=False)

    def run(self):
        with self.torch.inference_mode():
            return self.model(self.x)

    def channels_last(self, result):
        return result.float().permute(0, 2, 3, 4, 1).numpy()

    def layer(self, inputs, skip, outputs, stride, *size):
        torch = self.torch
        key = (inputs, skip, outputs, stride, *size)
        with torch.inference_mode():
            if key != self.layer_key:
                generator = torch.Generator().manual_seed(1)
                channels = inputs + skip
                weight = torch.randn(outputs, channels, 3, 3, 3, generator=generator) * (2 / (27 * channels)) ** 0.5
                x = torch.randn(1, channels, *size, generator=generator)
                self.weight = weight.to(dtype=self.dtype, memory_format=self.layout)
                self.features = x.to(dtype=self.dtype, memory_format=self.layout)
                self.layer_key = key
                torch.nn.functional.conv3d(self.features, self.weight, stride=stride, padding=1)
            start = time.perf_counter()
            torch.nn.functional.conv3d(self.features, self.weight, stride=stride, padding=1)
            return time.perf_counter() - start


def channels_first(window):
    from safetensors.numpy import load_file

    return np.ascontiguousarray(np.moveaxis(load_file(window)["x"], 4, 1))


def openvino_request(arguments):
    """An inference request of the CPU plug-in with its latency settings, f32 or bf16 arithmetic, and the model."""
    import openvino

    core = openvino.Core()
    if arguments.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("OpenVINO offers no bf16 on this processor")
    compiled = core.compile_model(core.read_model(arguments.onnx), "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(arguments.threads),
        "INFERENCE_PRECISION_HINT": arguments.precision,
    })
    return compiled.create_infer_request(), compiled, openvino.__version__.split("-")[0]


def onnxruntime_session(arguments):
    """A session of the CPU provider, f32, every graph optimization."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(arguments.onnx, options, providers=["CPUExecutionProvider"])
    return session, onnxruntime.__version__


class OpenVino:
    def __init__(self, arguments):
        self.request, compiled, version = openvino_request(arguments)
        kernels = sorted({op.get_rt_info()["primitiveType"].astype(str) for op in
                          compiled.get_runtime_model().get_ordered_ops() if
                          op.get_rt_info()["layerType"].astype(str) == "Convolution"})
        self.version = " ".join([version, *kernels])
        self.x = channels_first(arguments.window)
        self.outputs = range(len(compiled.outputs))

    def run(self):
        self.request.infer({0: self.x}, share_inputs=True, share_outputs=True)
        return [self.request.get_output_tensor(i).data for i in self.outputs]

    def channels_last(self, result):
        return np.moveaxis(result, 1, 4)


class OnnxRuntime:
    def __init__(self, arguments):
        self.session, self.version = onnxruntime_session(arguments)
        self.x = channels_first(arguments.window)

    def run(self):
        return self.session.run(None, {"x": self.x})

    def channels_last(self, result):
        return np.moveaxis(result, 1, 4)


PEERS = {"torch": Torch, "openvino": OpenVino, "onnxruntime": OnnxRuntime}


def write(stem, results, channels_last):
    """Straight into files, so that no second copy of a large output is needed in memory."""
    for number, result in enumerate(results):
        view = channels_last(result)
        file = np.lib.format.open_memmap(f"{stem}.{number}.npy", mode="w+", dtype=np.float32, shape=view.shape)
        file[...] = view
        file.flush()


def add_server_options(parser, peers):
    parser.add_argument("peer", choices=peers)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true", help="PyTorch: torch.compile with frozen weights")
    parser.add_argument("--isa", choices=("native", "avx2"), default="native")
    parser.add_argument("--onnx", help="the network with its weights (OpenVINO, ONNX Runtime)")


def serve(make_peer, write_results, details=lambda results: {}):
    """Answers commands until there are no more; `write_results(stem, results, peer)` writes what a run gave, and
    `details(results)` are told beside its seconds."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    try:
        peer = make_peer()
        answer(version=peer.version)
        results = None
        for line in sys.stdin:
            command, *words = line.split()
            if command == "run":
                results = None
                start = time.perf_counter()
                results = peer.run()
                seconds = time.perf_counter() - start
                answer(seconds=seconds, **details(results))
            elif command == "write":
                write_results(words[0], results, peer)
                answer()
            else:
                answer(seconds=peer.layer(*map(int, words)))
    except Exception as error:
        answer(error=" ".join(f"{type(error).__name__}: {error}".split()))
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_server_options(parser, PEERS)
    parser.add_argument("--network", choices=network.NETWORKS, default="unet")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch: memory format channels_last_3d")
    parser.add_argument("--weights", help="safetensors file (PyTorch); none: layers only")
    parser.add_argument("--window", help="safetensors file with x [1, H, W, D, 3]")
    arguments = parser.parse_args()
    serve(lambda: PEERS[arguments.peer](arguments),
          lambda stem, results, peer: write(stem, results, peer.channels_last))


if __name__ == "__main__":
    main()

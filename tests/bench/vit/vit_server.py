"""One peer as a process that takes commands, for --network vit of peers.sh: see bench_vit.cpp for the commands."""
import argparse
import json
import os
import sys
import time

import numpy as np

import vit_network as network


def load(path):
    from safetensors.numpy import load_file

    return load_file(path)


class Torch:
    """Eager or compiled, f32 or all bf16."""

    def __init__(self, arguments, images):
        import torch

        self.torch = torch
        self.version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
        torch.set_num_threads(arguments.threads)
        dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
        self.model = network.torch_network(load(arguments.weights)).to(dtype)
        self.x = torch.from_numpy(images).to(dtype)
        if arguments.compile:
            import torch._inductor.config as inductor

            inductor.freezing = True
            if arguments.isa == "avx2":
                inductor.cpp.simdlen = 256
            self.model = torch.compile(self.model, dynamic=False)

    def run(self):
        with self.torch.inference_mode():
            return self.model(self.x)

    def array(self, result):
        return result.float().numpy()


class OpenVino:
    """The CPU plug-in with its latency settings, f32 or bf16 arithmetic."""

    def __init__(self, arguments, images):
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
        self.version = openvino.__version__.split("-")[0]
        self.request = compiled.create_infer_request()
        self.x = images

    def run(self):
        self.request.infer({0: self.x}, share_inputs=True, share_outputs=True)
        return self.request.get_output_tensor(0).data

    def array(self, result):
        return result


class OnnxRuntime:
    """The CPU provider, f32, every graph optimization."""

    def __init__(self, arguments, images):
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(arguments.onnx, options, providers=["CPUExecutionProvider"])
        self.x = images

    def run(self):
        return self.session.run(None, {"x": self.x})[0]

    def array(self, result):
        return result


PEERS = {"torch": Torch, "openvino": OpenVino, "onnxruntime": OnnxRuntime}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true", help="PyTorch: torch.compile with frozen weights")
    parser.add_argument("--isa", choices=("native", "avx2"), default="native")
    parser.add_argument("--weights", required=True, help="safetensors file")
    parser.add_argument("--images", required=True, help="safetensors file with x [B, H, W, 3]")
    parser.add_argument("--onnx", help="the network with its weights (OpenVINO, ONNX Runtime)")
    arguments = parser.parse_args()

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    try:
        images = np.ascontiguousarray(np.moveaxis(load(arguments.images)["x"], 3, 1))
        peer = PEERS[arguments.peer](arguments, images)
        answer(version=peer.version)
        for line in sys.stdin:
            command, *words = line.split()
            if command == "run":
                start = time.perf_counter()
                result = peer.run()
                answer(seconds=time.perf_counter() - start)
            else:
                np.save(words[0] + ".0.npy", peer.array(result))
                answer()
    except Exception as error:
        answer(error=" ".join(f"{type(error).__name__}: {error}".split()))
        raise


if __name__ == "__main__":
    main()

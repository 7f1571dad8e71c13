"""One peer as a process that takes commands, for --network vit of peers.sh: see bench_vit.cpp for the commands."""
import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import peer_server  # noqa: E402
import vit_network as network  # noqa: E402


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
    def __init__(self, arguments, images):
        self.request, _, self.version = peer_server.openvino_request(arguments)
        self.x = images

    def run(self):
        self.request.infer({0: self.x}, share_inputs=True, share_outputs=True)
        return self.request.get_output_tensor(0).data

    def array(self, result):
        return result


class OnnxRuntime:
    def __init__(self, arguments, images):
        self.session, self.version = peer_server.onnxruntime_session(arguments)
        self.x = images

    def run(self):
        return self.session.run(None, {"x": self.x})[0]

    def array(self, result):
        return result


PEERS = {"torch": Torch, "openvino": OpenVino, "onnxruntime": OnnxRuntime}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    peer_server.add_server_options(parser, PEERS)
    parser.add_argument("--weights", required=True, help="safetensors file")
    parser.add_argument("--images", required=True, help="safetensors file with x [B, H, W, 3]")
    arguments = parser.parse_args()

    def make_peer():
        images = np.ascontiguousarray(np.moveaxis(load(arguments.images)["x"], 3, 1))
        return PEERS[arguments.peer](arguments, images)

    peer_server.serve(make_peer, lambda stem, result, peer: np.save(stem + ".0.npy", peer.array(result)))


if __name__ == "__main__":
    main()

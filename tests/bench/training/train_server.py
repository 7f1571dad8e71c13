"""SAT-Nano's training step in PyTorch as a process that takes commands, as train_peers.py gives them.

  run           one step: {"seconds": s, "forward": s, "backward": s, "optimiser": s, "loss": l}, where l is the loss
                before it
  write STEM    STEM.json: the losses of the scales and of every parameter's gradient its norm and samples; no step

The first line that it prints, unasked, is {"version": ...}. With --recorded FOLDER it compares a step with recorded
values instead, in double precision, and prints the differences.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import peer_server  # noqa: E402
from sat_nano import make_batch, make_model  # noqa: E402

SAMPLES = 64  # of a gradient, evenly spaced


class Torch:
    """Eager or compiled, contiguous or channels_last_3d, f32 or with bf16 autocast over f32 weights."""

    def __init__(self, arguments):
        self.version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
        torch.set_num_threads(arguments.threads)
        self.has_bf16 = arguments.precision == "bf16"
        layout = torch.channels_last_3d if arguments.channels_last else torch.contiguous_format
        self.model = make_model(arguments.size, peer_server.pool(layout)).to(memory_format=layout)
        image, queries, targets = make_batch(arguments.size, arguments.prompts)
        self.batch = image.contiguous(memory_format=layout), queries, targets, torch.ones(1, arguments.prompts)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.forward = self.model
        if arguments.compile:
            if arguments.isa == "avx2":
                import torch._inductor.config as inductor

                inductor.cpp.simdlen = 256
            self.forward = torch.compile(self.model, dynamic=False)

    def losses(self):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.has_bf16):
            return self.forward(*self.batch)

    def run(self):
        times = [time.perf_counter()]
        loss = self.losses().sum()
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        self.optimiser.step()
        self.optimiser.zero_grad()
        times.append(time.perf_counter())
        phases = {name: times[i + 1] - times[i] for i, name in enumerate(("forward", "backward", "optimiser"))}
        return {**phases, "loss": loss.item()}

    def write(self, stem):
        losses = self.losses()
        losses.sum().backward()
        gradients = {name: [p.grad.norm(dtype=torch.float64).item(), *samples(p.grad)]
                     for name, p in self.model.named_parameters() if p.grad is not None}
        self.optimiser.zero_grad()
        Path(stem + ".json").write_text(json.dumps({"scales": losses.tolist(), "gradients": gradients}))


def samples(gradient):
    count = min(SAMPLES, gradient.numel())
    places = torch.arange(count) * gradient.numel() // count
    return gradient.contiguous().flatten()[places].tolist()


def compare_with_recorded(folder):
    """Largest differences from a recorded step of the official code: of losses, norms and first values."""
    torch.set_default_dtype(torch.float64)
    case, record = (json.loads((folder / f"{name}.json").read_text()) for name in ("case", "values"))
    record = record["training"]
    model = make_model(case["image"], peer_server.pool(torch.contiguous_format))
    image, queries, targets = make_batch(case["image"], case["queries"])
    losses = model(image.double(), queries.double(), [t.double() for t in targets], torch.tensor(record["query_mask"]))
    losses.sum().backward()
    recorded = torch.tensor([scale["total"] for scale in record["scales"]])
    print(f"losses: {((losses - recorded) / recorded).abs().max():.1e} of them")
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if gradients.keys() != record["grads"].keys():
        sys.exit("other parameters have gradients")
    known = [(gradients[name], entry) for name, entry in record["grads"].items() if entry["norm"] > 1e-12]
    print(f"norms: {max(abs(g.norm().item() / entry['norm'] - 1) for g, entry in known):.1e} of them")
    values = max((g.contiguous().flatten()[:4] - torch.tensor(entry["first4"])).abs().max().item() / entry["norm"]
                 for g, entry in known)
    print(f"values: {values:.1e} of the norm, {len(known)} parameters")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=Path, metavar="FOLDER", help="compare with recorded values, and end")
    if "--recorded" in sys.argv:
        return compare_with_recorded(parser.parse_args().recorded)
    peer_server.add_server_options(parser, ["torch"])
    parser.add_argument("--channels-last", action="store_true", help="memory format channels_last_3d")
    parser.add_argument("--size", type=int, nargs=3, required=True)
    parser.add_argument("--prompts", type=int, required=True)
    arguments = parser.parse_args()
    peer_server.serve(lambda: Torch(arguments), lambda stem, _, peer: peer.write(stem), lambda phases: phases)


if __name__ == "__main__":
    main()

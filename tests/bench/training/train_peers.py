"""Times our training step of SAT-Nano and PyTorch's in turns, after checking that losses and gradients agree.

Started by train_peers.sh, which brings the Python packages; docs/benchmarks.md says what each column means.
"""
import argparse
import json
import math
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import programs  # noqa: E402

# name: (label, precision, arguments of train_server.py)
PEERS = {
    "torch": ("PyTorch", "f32", ["torch"]),
    "torch-cl": ("PyTorch channels_last_3d", "f32", ["torch", "--channels-last"]),
    "torch-compile": ("PyTorch compile", "f32", ["torch", "--compile"]),
    "torch-bf16": ("PyTorch autocast", "bf16", ["torch"]),
    "torch-bf16-cl": ("PyTorch autocast channels_last_3d", "bf16", ["torch", "--channels-last"]),
    "torch-bf16-compile": ("PyTorch autocast compile", "bf16", ["torch", "--compile"]),
}
PHASES = ("forward", "backward", "optimiser")
TOTAL_STRIDE = 32

WARM_UP = 2  # steps: the second is the first with the optimiser's moments in memory

# Largest differences from ours (exact): of a loss, relative, and of a gradient, of its norm. The coarsest instance
# norms are over 27 voxels at 96 x 96 x 96, which magnifies rounding; values beside a kink of the ReLU fall on either
# side of it, which the sums over all voxels (gains, biases) show most.
LOSS_BOUNDS = {"exact": 0.0, "f32": 1e-4, "fast": 3e-2, "bf16": 3e-2}
GRADIENT_BOUNDS = {"exact": 0.0, "f32": 1e-2, "fast": 0.5, "bf16": 0.5}
LATER_BOUNDS = {"exact": 0.0, "f32": 3e-3, "fast": 1e-1, "bf16": 1e-1}  # of losses after some steps
# Of the norm of all gradients: the rounding noise of a bias that a norm takes off again, and whose gradient is zero.
NOISE_BOUNDS = {"exact": 0.0, "f32": 1e-4, "fast": 0.0, "bf16": 1e-1}


def difference(folder, name, reference, noise):
    """Largest relative difference of the losses; largest difference of a gradient, of its norm."""
    theirs, ours = (json.loads((folder / f"{who}.json").read_text()) for who in (name, reference))
    if theirs["gradients"].keys() != ours["gradients"].keys():
        raise programs.ProgramFailed("other parameters have gradients than ours")
    loss = max(abs(a / b - 1) for a, b in zip(theirs["scales"], ours["scales"], strict=True))
    total = math.hypot(*(norm for norm, *_ in ours["gradients"].values()))
    worst = 0.0
    for parameter, (norm, *values) in ours["gradients"].items():
        their_norm, *their_values = theirs["gradients"][parameter]
        if norm == 0:
            if their_norm > noise * total:
                raise programs.ProgramFailed(f"{parameter} has a gradient, ours is zero")
            continue
        largest = max(abs(a - b) for a, b in zip(their_values, values, strict=True))
        error = max(abs(their_norm - norm), largest) / norm
        worst = error if math.isnan(error) else max(worst, error)
    return loss, worst


def recomputing(program, stages):
    """Ours once more, with less memory."""
    command = [*program.command, "--recompute", str(stages)]
    return programs.Program("sat-again", f"sat, stages again: {stages}", program.precision, command,
                            program.environment)


class Comparison:
    """One batch, all programs."""

    def __init__(self, options, names, folder):
        arguments = ["--size", *map(str, options.size), "--prompts", str(options.prompts)]
        ours = programs.make_ours(options, ["--serve", *arguments])
        if options.recompute:
            ours.append(recomputing(ours[0], options.recompute))
        peers = programs.make_peers(options, HERE / "train_server.py", PEERS, names, arguments)
        self.programs, self.folder, self.rounds = ours + peers, folder, options.rounds
        self.limit_bytes = int(0.95 * programs.meminfo("MemAvailable"))

    def check(self, program):
        """Starts a program, compares its losses and gradients with ours, and takes the first steps."""
        program.start([], self.folder, self.limit_bytes)
        program.ask(f"write {self.folder / program.name}")
        noise = NOISE_BOUNDS[program.precision]
        program.errors = difference(self.folder, program.name, self.programs[0].name, noise)
        program.phases, program.losses = {phase: [] for phase in PHASES}, []
        for _ in range(WARM_UP):
            seconds, *_ = program.run()
            program.losses.append(program.reply["loss"])
        program.forget_peak()
        program.peak_bytes = 0
        programs.say(f"{program.name}: {program.version}; last step to warm up {seconds:.2f} s, differences "
                     f"{program.errors[0]:.1e} (losses), {program.errors[1]:.1e} (gradients)")

    def measure(self, program):
        program.measure()
        program.losses.append(program.reply["loss"])
        for phase in PHASES:
            program.phases[phase].append(program.reply[phase])

    def run(self):
        try:
            programs.guarded(self.programs, self.check, self.limit_bytes)
            programs.take_turns(self.programs, self.measure, self.rounds, self.limit_bytes)
        finally:
            for program in self.programs:
                program.stop()
        return self.programs


def later_loss(program, reference):
    """Largest relative difference of the losses of all steps: of the optimisers too."""
    return max(abs(a / b - 1) for a, b in zip(program.losses, reference.losses, strict=True))


def report(options, compared):
    """Prints the table; returns whether all agree."""
    print(f"\nA training step of SAT-Nano, {'x'.join(map(str, options.size))}, batch 1, {options.prompts} prompts, "
          f"{options.threads} threads, medians of {options.rounds} rounds")
    by_precision = {p.precision: p for p in compared if p.label == "sat"}
    rows, well = [["program", "precision", "step s", "min s", "max s", *(f"{phase} s" for phase in PHASES), "others",
                   "peak GB", "/ exact", "/ fast", "losses", "gradients", "later", "version"]], True
    for p in compared:
        if p.failure:
            rows.append([p.label, p.precision, *["-"] * 13, p.failure])
            continue
        later = later_loss(p, compared[0])
        agrees = (p.errors[0] <= LOSS_BOUNDS[p.precision] and p.errors[1] <= GRADIENT_BOUNDS[p.precision]
                  and later <= LATER_BOUNDS[p.precision])
        well = well and agrees
        rows.append([p.label, p.precision, f"{statistics.median(p.seconds):.3f}", f"{min(p.seconds):.3f}",
                     f"{max(p.seconds):.3f}", *(f"{statistics.median(p.phases[phase]):.3f}" for phase in PHASES),
                     f"{max(p.others):.0%}", f"{p.peak_bytes * 1e-9:.2f}",
                     programs.ratio(p, by_precision.get("exact")), programs.ratio(p, by_precision.get("fast")),
                     f"{p.errors[0]:.1e}", f"{p.errors[1]:.1e}", f"{later:.1e}",
                     p.version + ("" if agrees else "  DISAGREES")])
    programs.table(rows)
    return well


def parse():
    parser = argparse.ArgumentParser(prog="train_peers.sh",
                                     description="Compares a training step of SAT-Nano with PyTorch's on this CPU.")
    parser.add_argument("--bench", required=True, metavar="FILE", help="the built sat_bench_training")
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96), metavar=("H", "W", "D"),
                        help=f"crop, multiples of {TOTAL_STRIDE} (default: 96 96 96)")
    parser.add_argument("--prompts", type=int, default=8, help="default: 8")
    parser.add_argument("--recompute", type=int, default=0, metavar="N",
                        help="ours once more, N stages' inner results made again in the backward pass")
    programs.add_common_options(parser, PEERS)
    options = programs.parse_common(parser)
    if any(side % TOTAL_STRIDE or side < 1 for side in options.size) or options.prompts < 1:
        parser.error(f"a crop's sides are multiples of {TOTAL_STRIDE}, and there is at least one prompt")
    return options


def main():
    options = parse()
    programs.end_tidily()
    name, flags = programs.processor()
    names = programs.runnable(PEERS, options, flags) if options.peers is None else options.peers
    folder = Path(tempfile.mkdtemp(prefix="sat-train-peers-"))
    try:
        compared = Comparison(options, names, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(name)
    well = report(options, compared)
    if options.json:
        entries = [{"program": p.name, "precision": p.precision, "version": p.version, "failure": p.failure,
                    "seconds": p.seconds, "phases": getattr(p, "phases", None), "losses": getattr(p, "losses", None),
                    "others": p.others, "peak_bytes": p.peak_bytes, "errors": p.errors} for p in compared]
        Path(options.json).write_text(json.dumps({"processor": name, "size": options.size, "prompts": options.prompts,
                                                  "threads": options.threads, "programs": entries}, indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

"""Times our network and the frameworks' on one window in turns, checks that the results agree, prints tables of medians.

Started by peers.sh, which brings the Python packages; docs/benchmarks.md says what each column means.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import peer_network as network
from programs import (BOUNDS, PAUSE, ProgramFailed, add_common_options, end_tidily, guarded, make_ours, make_peers,
                      meminfo, parse_common, processor, ratio, runnable, say, table, take_turns)

HERE = Path(__file__).resolve().parent

# name: (label, precision, arguments of peer_server.py)
PEERS = {
    "torch": ("PyTorch", "f32", ["torch"]),
    "torch-cl": ("PyTorch channels_last_3d", "f32", ["torch", "--channels-last"]),
    "torch-compile": ("PyTorch compile", "f32", ["torch", "--compile"]),
    "openvino": ("OpenVINO", "f32", ["openvino"]),
    "onnxruntime": ("ONNX Runtime", "f32", ["onnxruntime"]),
    "torch-bf16": ("PyTorch", "bf16", ["torch"]),
    "torch-bf16-cl": ("PyTorch channels_last_3d", "bf16", ["torch", "--channels-last"]),
    "torch-bf16-compile": ("PyTorch compile", "bf16", ["torch", "--compile"]),
    "openvino-bf16": ("OpenVINO", "bf16", ["openvino"]),
}
LAYER_PEERS = {"f32": ("torch", "torch-cl"), "bf16": ("torch-bf16", "torch-bf16-cl")}

# Inputs, skip, outputs, stride and the grid: the layers that hold nine tenths of the network's work.
LAYERS = ("64+0:64:96x96x96", "64+64:64:96x96x96", "128+0:128:72x72x48", "256+0:256:36x36x24")


def difference(folder, name, reference):
    """Rms difference of the full-resolution output, and of the worst pooled stage, in standard deviations of ours."""
    errors = []
    for number in range(len(network.WIDTHS) + 1):
        theirs, ours = (np.load(folder / f"{who}.{number}.npy", mmap_mode="r") for who in (name, reference))
        if theirs.shape != ours.shape:
            raise ProgramFailed(f"result {number} has shape {theirs.shape}, ours {ours.shape}")
        squares = total = total_squares = 0.0
        for row in range(ours.shape[1]):
            a, b = theirs[:, row].astype(np.float64), ours[:, row].astype(np.float64)
            squares += np.square(a - b).sum()
            total += b.sum()
            total_squares += np.square(b).sum()
        variance = total_squares / ours.size - (total / ours.size) ** 2
        errors.append(float(np.sqrt(squares / ours.size / variance)))
    return errors[0], float(np.max(errors[1:]))  # np.max keeps a NaN


class Comparison:
    """One window, all programs."""

    def __init__(self, options, size, programs, folder):
        self.options, self.size, self.programs, self.folder = options, size, programs, folder
        from safetensors.numpy import save_file

        is_unet = options.network == "unet"
        weights = network.make_weights() if is_unet else network.make_backbone_weights(options.network)
        save_file(weights, folder / "weights.safetensors")
        save_file({"x": network.make_window(size)}, folder / "window.safetensors")
        if is_unet:
            network.save_onnx(folder / "unet.onnx", weights, size)
        available = meminfo("MemAvailable")
        self.limit_bytes = int(options.memory * 1e9) if options.memory else int(0.95 * available)
        features_bytes = 4 * network.WIDTHS[0] * size[0] * size[1] * size[2]
        self.alone = options.alone or 6 * features_bytes * len(programs) > available

    def start(self, program):
        files = ["--window", str(self.folder / "window.safetensors")]
        if "openvino" in program.command or "onnxruntime" in program.command:
            files += ["--onnx", str(self.folder / "unet.onnx")]
        else:
            files += ["--weights", str(self.folder / "weights.safetensors")]
        program.start(files, self.folder, self.limit_bytes)
        return program.run()

    def check(self, program):
        """Starts a program, warms it up and compares its results with ours."""
        seconds, *_ = self.start(program)
        program.ask(f"write {self.folder / program.name}")
        program.forget_peak()
        program.errors = difference(self.folder, program.name, self.programs[0].name)
        if program is not self.programs[0]:
            for file in self.folder.glob(f"{program.name}.*.npy"):
                file.unlink()
        say(f"{program.name}: {program.version}; first run {seconds:.2f} s, "
            f"difference {program.errors[0]:.1e} (full), {program.errors[1]:.1e} (pooled)")
        if self.alone:
            program.stop()

    def measure(self, program):
        if self.alone:
            self.start(program)
        program.measure()
        if self.alone:
            program.stop()

    def run(self):
        try:
            guarded(self.programs, self.check, self.limit_bytes)
            for file in self.folder.glob("*.npy"):
                file.unlink()
            take_turns(self.programs, self.measure, self.options.rounds, self.limit_bytes)
        finally:
            for program in self.programs:
                program.stop()


def make_programs(options, names):
    """Ours first, then the peers of these names."""
    ours = make_ours(options, ["--serve", "--network", network.NETWORKS[options.network][1]])
    return ours + make_peers(options, HERE / "peer_server.py", PEERS, names, ["--network", options.network])


def report_window(comparison):
    """Prints the table of one window; returns its JSON form and whether all is well."""
    options, programs = comparison.options, comparison.programs
    size = "x".join(map(str, comparison.size))
    print(f"\n{network.NETWORKS[options.network][0]}, window {size}, {options.threads} threads, medians of "
          f"{options.rounds} rounds"
          + (", each program alone in memory" if comparison.alone else ""))
    by_precision = {p.precision: p for p in programs if p.label == "sat"}
    header = ["program", "precision", "median s", "min s", "max s", "unfinished s", "others", "peak GB", "/ exact",
              "/ fast", "error", "pooled", "version"]
    rows, well = [header], True
    for p in programs:
        if p.failure:
            rows.append([p.label, p.precision] + ["-"] * 10 + [p.failure])
            continue
        agrees = all(error <= BOUNDS[p.precision] for error in p.errors)
        well = well and agrees
        rows.append([p.label, p.precision, f"{statistics.median(p.seconds):.3f}", f"{min(p.seconds):.3f}",
                     f"{max(p.seconds):.3f}",
                     f"{statistics.median(p.unfinished):.3f}" if p.label == "sat" else "-",
                     f"{max(p.others):.0%}", f"{p.peak_bytes * 1e-9:.2f}",
                     ratio(p, by_precision.get("exact")), ratio(p, by_precision.get("fast")),
                     f"{p.errors[0]:.1e}", f"{p.errors[1]:.1e}",
                     p.version + ("" if agrees else f"  DISAGREES, bound {BOUNDS[p.precision]:.0e}")])
    table(rows)
    if options.isa == "avx2" and any(p.name == "onnxruntime" for p in programs):
        print("ONNX Runtime has no switch for instruction sets: it uses all that the processor has.")
    entries = [{"program": p.name, "precision": p.precision, "version": p.version, "failure": p.failure,
                "seconds": p.seconds, "unfinished_seconds": p.unfinished if p.label == "sat" else None,
                "others": p.others, "peak_bytes": p.peak_bytes, "errors": p.errors}
               for p in programs]
    return {"window": comparison.size, "alone": comparison.alone, "programs": entries}, well


def compare_layers(options, usable, folder):
    """Single convolutions: ours with what is fused into it against the bare one of PyTorch's oneDNN."""
    programs = make_programs(options, [name for group in LAYER_PEERS.values() for name in group if name in usable])
    results = []
    try:
        for program in list(programs):
            try:
                program.start([], folder, resource.RLIM_INFINITY)
            except ProgramFailed as failure:
                say(f"{program.name} failed: {failure}")
                programs.remove(program)
        for layer in options.layers or LAYERS:
            channels, outputs, grid = layer.split(":")
            inputs, skip = channels.split("+")
            command = " ".join(["layer", inputs, skip, outputs, "1", *grid.split("x")])
            times = {program.name: [] for program in programs}
            for _ in range(options.rounds):
                for program in programs:
                    time.sleep(PAUSE)
                    times[program.name].append(program.ask(command)["seconds"])
            flop = 54.0 * (int(inputs) + int(skip)) * int(outputs) * np.prod([int(side) for side in grid.split("x")])
            results.append({"layer": layer, "flop": flop, "seconds": times})
            say(f"layer {layer}: " + ", ".join(f"{n} {statistics.median(t) * 1e3:.1f} ms" for n, t in times.items()))
    finally:
        for program in programs:
            program.stop()
    return results


def report_layers(options, results):
    print(f"\nConvolutions 3x3x3, {options.threads} threads, medians of {options.rounds} rounds; GFLOP/s of the direct "
          "count; PyTorch: bare, better layout")
    rows = [["layer", "precision", "sat ms", "GFLOP/s", "PyTorch ms", "GFLOP/s", "ratio", "layout"]]
    for result in results:
        medians = {name: statistics.median(times) for name, times in result["seconds"].items()}
        for ours, precision in (("sat", "f32"), ("sat-fast", "bf16")):
            peers = [name for name in LAYER_PEERS[precision] if name in medians]
            if ours not in medians or not peers:
                continue
            best = min(peers, key=medians.get)
            seconds, rate = (medians[ours], medians[best]), result["flop"] * 1e-9
            rows.append([result["layer"], "exact / f32" if ours == "sat" else "fast / bf16", f"{seconds[0] * 1e3:.1f}",
                         f"{rate / seconds[0]:.0f}", f"{seconds[1] * 1e3:.1f}", f"{rate / seconds[1]:.0f}",
                         f"{seconds[1] / seconds[0]:.2f}",
                         "channels_last_3d" if best.endswith("-cl") else "contiguous"])
    table(rows)


def parse():
    parser = argparse.ArgumentParser(prog="peers.sh",
                                     description="Compares our U-Net with the frameworks' on this CPU.")
    parser.add_argument("--bench", required=True, metavar="FILE", help="the built sat_bench_unet")
    parser.add_argument("--network", choices=network.NETWORKS, default="unet",
                        help="U-Mamba and SwinUNETR are compared with PyTorch alone (default: unet)")
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96), metavar=("H", "W", "D"),
                        help=f"window, multiples of {network.TOTAL_STRIDE} (default: 96 96 96)")
    parser.add_argument("--fallback", type=int, nargs=3, default=(96, 96, 96), metavar=("H", "W", "D"),
                        help="window of a second table for peers that fail at the first (default: 96 96 96)")
    add_common_options(parser, PEERS)
    parser.add_argument("--alone", action="store_true", help="one process at a time, started and warmed up every round")
    parser.add_argument("--memory", type=float, metavar="GB",
                        help="limit of a process (default: 95 %% of what is free)")
    parser.add_argument("--layers", nargs="*", metavar="IN+SKIP:OUT:HxWxD", help="single convolutions as well")
    parser.add_argument("--no-window", action="store_true", help="only --layers")
    parser.add_argument("--work", metavar="DIR", help="folder for gigabytes of temporary files (default: the system's)")
    options = parse_common(parser)
    if any(side % network.TOTAL_STRIDE or side < 1 for side in (*options.size, *options.fallback)):
        parser.error(f"a window's sides are multiples of {network.TOTAL_STRIDE}")
    if options.network != "unet" and not {"torch", "torch-cl"}.issuperset(options.peers or ()):
        parser.error(f"--network {options.network} is compared with torch and torch-cl")
    return options


def main():
    options = parse()
    end_tidily()
    name, flags = processor()
    usable = runnable(PEERS, options, flags)
    if options.network != "unet":
        usable = [peer for peer in usable if peer in ("torch", "torch-cl")]
    names = usable if options.peers is None else options.peers
    features = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    print(f"{name} ({' '.join(features)}), {os.cpu_count()} CPUs, {meminfo('MemTotal') * 1e-9:.0f} GB"
          + (", restricted to AVX2" if options.isa == "avx2" else ""))

    folder = Path(tempfile.mkdtemp(prefix="sat-peers-", dir=options.work))
    report, well = {"processor": name, "features": features, "isa": options.isa, "threads": options.threads}, True
    try:
        if not options.no_window:
            comparison = Comparison(options, options.size, make_programs(options, names), folder)
            comparison.run()
            result, well = report_window(comparison)
            report["windows"] = [result]
            failed = [p.name for p in comparison.programs if p.failure and p.label != "sat"]
            if failed and tuple(options.fallback) != tuple(options.size):
                print("These failed at this window, so a smaller one is used for them:", ", ".join(failed))
                comparison = Comparison(options, options.fallback, make_programs(options, failed), folder)
                comparison.run()
                result, agrees = report_window(comparison)
                report["windows"].append(result)
                well = well and agrees
        if options.layers is not None:
            report["layers"] = compare_layers(options, usable, folder)
            report_layers(options, report["layers"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

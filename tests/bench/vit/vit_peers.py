"""Times our ViT-B/14 and the frameworks' on a batch of 518 x 518 images in turns, checks that the features agree.

Started by peers.sh --network vit, which brings the Python packages; docs/benchmarks.md says what each column means.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import programs  # noqa: E402
import vit_network as network  # noqa: E402

# name: (label, precision, arguments of vit_server.py)
PEERS = {
    "torch": ("PyTorch", "f32", ["torch"]),
    "torch-compile": ("PyTorch compile", "f32", ["torch", "--compile"]),
    "openvino": ("OpenVINO", "f32", ["openvino"]),
    "onnxruntime": ("ONNX Runtime", "f32", ["onnxruntime"]),
    "torch-bf16": ("PyTorch", "bf16", ["torch"]),
    "torch-bf16-compile": ("PyTorch compile", "bf16", ["torch", "--compile"]),
    "openvino-bf16": ("OpenVINO", "bf16", ["openvino"]),
}


def make_programs(options, names, folder):
    """Ours first, then the peers."""
    files = ["--weights", str(folder / "weights.safetensors"), "--images", str(folder / "images.safetensors")]
    ours = programs.make_ours(options, files)
    arguments = [*files, "--onnx", str(folder / "vit.onnx")]
    return ours + programs.make_peers(options, HERE / "vit_server.py", PEERS, names, arguments)


def difference(folder, name, reference):
    """Rms difference from ours, in standard deviations of it."""
    theirs, ours = (np.load(folder / f"{who}.0.npy").astype(np.float64) for who in (name, reference))
    if theirs.shape != ours.shape:
        raise programs.ProgramFailed(f"the result has shape {theirs.shape}, ours {ours.shape}")
    return float(np.sqrt(np.mean(np.square(theirs - ours))) / ours.std())


def compare(options, names, folder):
    from safetensors.numpy import save_file

    weights = network.make_weights()
    save_file(weights, folder / "weights.safetensors")
    save_file({"x": network.make_images(options.batch)}, folder / "images.safetensors")
    network.save_onnx(str(folder / "vit.onnx"), weights, options.batch)
    started = make_programs(options, names, folder)
    limit = int(0.95 * programs.meminfo("MemAvailable"))

    def check(program):
        program.start([], folder, limit)
        seconds, *_ = program.run()
        program.ask(f"write {folder / program.name}")
        program.forget_peak()
        program.errors = difference(folder, program.name, started[0].name)
        programs.say(f"{program.name}: {program.version}; first run {seconds:.2f} s, difference {program.errors:.1e}")

    try:
        programs.guarded(started, check, limit)
        programs.take_turns(started, programs.Program.measure, options.rounds, limit)
    finally:
        for program in started:
            program.stop()
    return started


def report(options, compared):
    print(f"\nViT-B/14, {options.batch} x {network.SIDE} x {network.SIDE}, {options.threads} threads, medians of "
          f"{options.rounds} rounds")
    by_precision = {p.precision: p for p in compared if p.label == "sat"}
    rows = [["program", "precision", "median s", "min s", "max s", "others", "peak GB", "/ exact", "/ fast", "error",
             "version"]]
    well = True
    for p in compared:
        if p.failure:
            rows.append([p.label, p.precision] + ["-"] * 8 + [p.failure])
            continue
        agrees = p.errors <= programs.BOUNDS[p.precision]
        well = well and agrees
        rows.append([p.label, p.precision, f"{statistics.median(p.seconds):.3f}", f"{min(p.seconds):.3f}",
                     f"{max(p.seconds):.3f}", f"{max(p.others):.0%}", f"{p.peak_bytes * 1e-9:.2f}",
                     programs.ratio(p, by_precision.get("exact")), programs.ratio(p, by_precision.get("fast")),
                     f"{p.errors:.1e}", p.version + ("" if agrees else "  DISAGREES")])
    programs.table(rows)
    return well


def parse():
    parser = argparse.ArgumentParser(prog="peers.sh --network vit",
                                     description="Compares our ViT-B/14 with the frameworks' on this CPU.")
    parser.add_argument("--bench", required=True, metavar="FILE", help="the built sat_bench_vit")
    parser.add_argument("--batch", type=int, default=1, help="images (default: 1)")
    programs.add_common_options(parser, PEERS)
    options = programs.parse_common(parser)
    if options.batch < 1:
        parser.error("at least one image")
    return options


def main():
    options = parse()
    programs.end_tidily()
    name, flags = programs.processor()
    print(f"{name}, {os.cpu_count()} CPUs" + (", restricted to AVX2" if options.isa == "avx2" else ""))
    folder = Path(tempfile.mkdtemp(prefix="sat-peers-"))
    try:
        names = programs.runnable(PEERS, options, flags) if options.peers is None else options.peers
        compared = compare(options, names, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    well = report(options, compared)
    if options.json:
        entries = [{"program": p.name, "precision": p.precision, "version": p.version, "failure": p.failure,
                    "seconds": p.seconds, "peak_bytes": p.peak_bytes, "error": p.errors} for p in compared]
        Path(options.json).write_text(json.dumps({"processor": name, "batch": options.batch, "programs": entries},
                                                 indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

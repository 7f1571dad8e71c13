"""Times our network and the frameworks' on one window in turns, checks that the results agree, prints tables of medians.

Started by peers.sh, which brings the Python packages; docs/benchmarks.md says what each column means.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import peer_network as network

PAUSE = 1.0  # seconds before a run: the threads of the program before spin on for a while, waiting for work
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

# Largest rms difference from ours (exact), in standard deviations of the output, that still counts as the same network.
# Another network is off by 1; OpenVINO in f32 is off by up to 4e-4 where PyTorch and ONNX Runtime are within 7e-5.
BOUNDS = {"exact": 0.0, "f32": 2e-3, "fast": 1e-1, "bf16": 1e-1}

# Inputs, skip, outputs, stride and the grid: the layers that hold nine tenths of the network's work.
LAYERS = ("64+0:64:96x96x96", "64+64:64:96x96x96", "128+0:128:72x72x48", "256+0:256:36x36x24")

# What keeps the peers from wider instructions. ONNX Runtime's kernels have no such switch.
AVX2_ONLY = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


# How running out of memory reads in their messages.
OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "MemoryError", "out of memory", "bad allocation", "signal 9")


class ProgramFailed(Exception):
    pass


class Program:
    """Ours or a peer: a process that takes commands, its times and what else is known of it."""

    def __init__(self, name, label, precision, command, environment):
        self.name, self.label, self.precision, self.command = name, label, precision, command
        self.environment = environment
        self.process = None
        self.version, self.failure, self.peak_bytes, self.errors = "", "", 0, None
        # Of each round: the run's time; that of ours before its last norm; the share of the CPUs that others had in it.
        self.seconds, self.unfinished, self.others = [], [], []

    def start(self, arguments, folder, limit_bytes):
        self.errors_file = folder / f"{self.name}.log"

        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))

        with open(self.errors_file, "a") as errors:
            self.process = subprocess.Popen([*self.command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=errors, text=True, env=self.environment, preexec_fn=limit)
        self.version = self.answer()["version"]

    def answer(self):
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {}
        if not line or "error" in reply:
            status = self.process.wait()
            said = [text for text in self.errors_file.read_text(errors="replace").splitlines() if text.strip()]
            reason = f"killed by signal {-status}" if status < 0 else said[-1].strip() if said else f"status {status}"
            raise ProgramFailed(reply.get("error", reason))
        return reply

    def ask(self, command):
        try:
            print(command, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # the answer that does not come tells why
        return self.answer()

    def own_ticks(self):
        """Processor time of all threads up to now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def run(self):
        """Seconds of one run, of it without what finishes our features, and the others' share of the CPUs in it. The peak
        of resident memory is noted."""
        time.sleep(PAUSE)
        busy, own, start = busy_ticks(), self.own_ticks(), time.monotonic()
        reply = self.ask("run")
        seconds = reply["seconds"]
        ticks = (time.monotonic() - start) * os.sysconf("SC_CLK_TCK") * os.cpu_count()
        others = max(0.0, (busy_ticks() - busy - (self.own_ticks() - own)) / ticks)
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)
        return seconds, reply.get("network_seconds", seconds), others

    def forget_peak(self):
        """What the process has done beside the network no longer counts."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        if self.process is None:
            return
        self.process.kill()  # it has nothing to lose, and a framework may take long to leave
        self.process.communicate()
        self.process = None


def busy_ticks():
    """Processor time of everybody since the machine started, what a hypervisor withheld included."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal


def meminfo(field):
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def processor():
    """Name and feature flags."""
    fields = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    return fields.get("model name", "unknown"), set(fields.get("flags", "").split())


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
        for series, figure in zip((program.seconds, program.unfinished, program.others), program.run()):
            series.append(figure)
        if self.alone:
            program.stop()

    def guarded(self, action):
        """Does it to every program that still works; only ours (exact) may not fail."""
        for program in self.programs:
            if program.failure:
                continue
            try:
                action(program)
            except ProgramFailed as failure:
                program.failure = str(failure)[:100]
                if any(words in str(failure) for words in OUT_OF_MEMORY):
                    program.failure = f"does not fit in {self.limit_bytes * 1e-9:.1f} GB"
                say(f"{program.name} failed: {failure}")
                program.stop()
                if program is self.programs[0]:
                    sys.exit(f"peers.sh: nothing to compare with: {program.failure}")

    def run(self):
        try:
            self.guarded(self.check)
            for file in self.folder.glob("*.npy"):
                file.unlink()
            for number in range(self.options.rounds):
                self.guarded(self.measure)
                latest = [f"{p.name} {p.seconds[-1]:.2f}" for p in self.programs if not p.failure]
                say(f"round {number + 1}: " + ", ".join(latest))
        finally:
            for program in self.programs:
                program.stop()


def say(line):
    print(line, file=sys.stderr, flush=True)


def make_programs(options, names):
    """Ours first, exact before fast, then the peers of these names."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(Path(sys.prefix) / "inductor")
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # more are processes of their own, which outlive it
    programs = []
    for precision in options.precision:
        command = [options.bench, "--serve", "--threads", str(options.threads), "--precision", precision,
                   "--network", network.NETWORKS[options.network][1]]
        if options.cpu:
            command += ["--cpu", options.cpu]
        programs.append(Program("sat" if precision == "exact" else "sat-" + precision, "sat", precision, command,
                                environment))
    if options.isa == "avx2":
        environment = {**environment, **AVX2_ONLY}
    for name in names:
        label, precision, arguments = PEERS[name]
        command = [sys.executable, str(HERE / "peer_server.py"), *arguments, "--threads", str(options.threads),
                   "--precision", precision, "--isa", options.isa, "--network", options.network]
        programs.append(Program(name, label, precision, command, environment))
    return programs


def table(rows):
    """Columns as wide as their widest cell; the first two and the last begin at the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        for i in (0, 1, len(row) - 1):
            cells[i] = row[i].ljust(widths[i])
        print("  ".join(cells).rstrip())


def ratio(program, ours):
    usable = ours is not None and ours.seconds and program.seconds
    return f"{statistics.median(program.seconds) / statistics.median(ours.seconds):.2f}" if usable else "-"


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


def compare_layers(options, runnable, folder):
    """Single convolutions: ours with what is fused into it against the bare one of PyTorch's oneDNN."""
    programs = make_programs(options, [name for group in LAYER_PEERS.values() for name in group if name in runnable])
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


def add_common_options(parser, peers):
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=peers, metavar="NAME",
                        help="default: all that the processor can run, of " + " ".join(peers))
    parser.add_argument("--precision", nargs="+", choices=("exact", "fast"), default=["exact"],
                        help="ours, exact first (default: exact)")
    parser.add_argument("--cpu", choices=("plain", "avx2", "avx512"), help="our kernels (default: the best)")
    parser.add_argument("--isa", choices=("native", "avx2"), default="native",
                        help="avx2: everybody is kept from wider instructions (default: native)")
    parser.add_argument("--json", metavar="FILE", help="where to write all figures")


def parse_common(parser):
    """The options, checked as far as every comparison has them."""
    options = parser.parse_args()
    if options.rounds < 1 or options.threads < 1:
        parser.error("at least one round and one thread")
    if options.precision[0] != "exact":
        parser.error("the peers are compared with exact: name it first")
    if options.isa == "avx2":
        options.cpu = options.cpu or "avx2"
    return options


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that clears up
    sys.stdout.reconfigure(line_buffering=True)
    name, flags = processor()
    has_bf16 = options.isa == "native" and flags & {"avx512_bf16", "amx_bf16"}
    runnable = [peer for peer, (_, precision, _) in PEERS.items() if precision == "f32" or has_bf16]
    if options.network != "unet":
        runnable = [peer for peer in runnable if peer in ("torch", "torch-cl")]
    names = runnable if options.peers is None else options.peers
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
            report["layers"] = compare_layers(options, runnable, folder)
            report_layers(options, report["layers"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

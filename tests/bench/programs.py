"""Programs that a comparison starts and lets take turns, ours and the frameworks': what the comparisons share.

A program is a process that reads a command a line and answers with a line of JSON (peer_server.py).
"""
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

PAUSE = 1.0  # seconds before a run: the threads of the program before spin on for a while, waiting for work

# Largest rms difference from ours (exact), in standard deviations of the output, that still counts as the same network.
# Another network is off by 1; OpenVINO in f32 is off by up to 4e-4 where PyTorch and ONNX Runtime are within 7e-5.
BOUNDS = {"exact": 0.0, "f32": 2e-3, "fast": 1e-1, "bf16": 1e-1}

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
        self.reply = {}  # to the latest run

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
        """Seconds of one run, of it without what finishes our features, and the others' share of the CPUs in it. The
        peak of resident memory is noted."""
        time.sleep(PAUSE)
        busy, own, start = busy_ticks(), self.own_ticks(), time.monotonic()
        self.reply = self.ask("run")
        seconds = self.reply["seconds"]
        ticks = (time.monotonic() - start) * os.sysconf("SC_CLK_TCK") * os.cpu_count()
        others = max(0.0, (busy_ticks() - busy - (self.own_ticks() - own)) / ticks)
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) * 1024)
        return seconds, self.reply.get("network_seconds", seconds), others

    def measure(self):
        """A run of a round."""
        for series, figure in zip((self.seconds, self.unfinished, self.others), self.run()):
            series.append(figure)

    def forget_peak(self):
        """What the process has done beside the network no longer counts."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        if self.process is None:
            return
        self.process.kill()  # it has nothing to lose, and a framework may take long to leave
        self.process.communicate()
        self.process = None


def environments(options):
    """Of ours and of the peers."""
    ours = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    ours["TORCHINDUCTOR_CACHE_DIR"] = str(Path(sys.prefix) / "inductor")
    ours["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # more are processes of their own, which outlive it
    return ours, {**ours, **AVX2_ONLY} if options.isa == "avx2" else ours


def make_ours(options, arguments):
    """Our program once a precision, exact before fast."""
    programs = []
    for precision in options.precision:
        command = [options.bench, *arguments, "--threads", str(options.threads), "--precision", precision]
        if options.cpu:
            command += ["--cpu", options.cpu]
        name = "sat" if precision == "exact" else "sat-" + precision
        programs.append(Program(name, "sat", precision, command, environments(options)[0]))
    return programs


def make_peers(options, server, peers, names, arguments):
    """peers: {name: (label, precision, arguments of the server, a Python script)}."""
    programs = []
    for name in names:
        label, precision, own = peers[name]
        command = [sys.executable, str(server), *own, "--threads", str(options.threads), "--precision", precision,
                   "--isa", options.isa, *arguments]
        programs.append(Program(name, label, precision, command, environments(options)[1]))
    return programs


def guarded(programs, action, limit_bytes):
    """Does it to every program that still works; only the first, ours (exact), may not fail."""
    for program in programs:
        if program.failure:
            continue
        try:
            action(program)
        except ProgramFailed as failure:
            program.failure = str(failure)[:100]
            if any(words in str(failure) for words in OUT_OF_MEMORY):
                program.failure = f"does not fit in {limit_bytes * 1e-9:.1f} GB"
            say(f"{program.name} failed: {failure}")
            program.stop()
            if program is programs[0]:
                sys.exit(f"peers.sh: nothing to compare with: {program.failure}")


def take_turns(programs, measure, rounds, limit_bytes):
    for number in range(rounds):
        guarded(programs, measure, limit_bytes)
        latest = [f"{p.name} {p.seconds[-1]:.2f}" for p in programs if not p.failure]
        say(f"round {number + 1}: " + ", ".join(latest))


def runnable(peers, options, flags):
    """The names of peers that this processor can run, in the given instruction set."""
    has_bf16 = options.isa == "native" and flags & {"avx512_bf16", "amx_bf16"}
    return [name for name, (_, precision, _) in peers.items() if precision == "f32" or has_bf16]


def end_tidily():
    """Being asked to end is an exit that clears up, and lines of a table appear as they are printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.reconfigure(line_buffering=True)


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


def say(line):
    print(line, file=sys.stderr, flush=True)


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

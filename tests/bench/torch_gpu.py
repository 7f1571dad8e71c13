"""PyTorch's convolutions on a GPU beside ours: python3 tests/bench/torch_gpu.py [--size HxWxD] [--device cuda].

Prints, for layers of SAT's U-Net in f16, channels-last and not, the median time of conv3d alone and of the chain
conv3d, instance norm, leaky ReLU, and the rate of the definition's work, 2 * 27 * in * out flop a voxel. Random data;
each repeat works on another copy of the input, so that nothing is left in the caches.
"""
import argparse
import statistics
import time

import torch

LAYERS = ((64, 64), (128, 64), (128, 128), (256, 128))
REPEATS, COPIES = 20, 3


def milliseconds(device, work, inputs):
    """The median of REPEATS runs, after a few that are not counted."""
    times = []
    for repeat in range(REPEATS + 5):
        x = inputs[repeat % COPIES]
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work(x)
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            work(x)
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[5:])


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", default="96x96x96")
    options.add_argument("--device", default="cuda")
    chosen = options.parse_args()
    device = torch.device(chosen.device)
    size = [int(edge) for edge in chosen.size.split("x")]
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {chosen.size}, {dtype}")
    print("| layer | memory format | conv3d, ms | TFLOP/s | with norm and leaky ReLU, ms | TFLOP/s |")
    print("|---|---|---:|---:|---:|---:|")
    for inputs, outputs in LAYERS:
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            make = lambda *shape: torch.randn(*shape, device=device, dtype=dtype).to(memory_format=layout)
            copies = [make(1, inputs, *size) for _ in range(COPIES)]
            weight = make(outputs, inputs, 3, 3, 3) * (27 * inputs) ** -0.5
            gain, shift = torch.ones(outputs, device=device, dtype=dtype), torch.zeros(outputs, device=device, dtype=dtype)

            def convolve(x):
                return torch.nn.functional.conv3d(x, weight, padding=1)

            def chain(x):
                y = torch.nn.functional.instance_norm(convolve(x), weight=gain, bias=shift)
                return torch.nn.functional.leaky_relu(y, 0.01, inplace=True)

            flop = 2 * 27 * inputs * outputs * size[0] * size[1] * size[2]
            with torch.inference_mode():
                alone, together = (milliseconds(device, work, copies) for work in (convolve, chain))
            name = str(layout).removeprefix("torch.")
            print(f"| {inputs}-{outputs} | {name} | {alone:.3f} | {flop / alone * 1e-9:.1f} | {together:.3f} "
                  f"| {flop / together * 1e-9:.1f} |")


if __name__ == "__main__":
    main()

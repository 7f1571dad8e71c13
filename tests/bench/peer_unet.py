"""Times the same U-Net in PyTorch on the CPU, f32: the peer of sat_bench_unet.

  peer_unet.py [--size 96 96 96] [--threads 2] [--repeats 3]       medians of both memory layouts
  peer_unet.py --once --layout contiguous|channels_last_3d         one bare figure, for compare_unet.sh

The network is SAT-Nano's backbone: six stages of two 3x3x3 convolutions (bias, instance norm, leaky ReLU), widths
64, 64, 128, 256, 512, 768, transposed convolutions on the way up, skips joined by concatenation.
"""
import argparse
import time

import torch
from torch import nn

WIDTHS = (64, 64, 128, 256, 512, 768)


def block(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, 1),
        nn.InstanceNorm3d(outputs, eps=1e-5, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList()
        for stage, width in enumerate(WIDTHS):
            inputs = WIDTHS[stage - 1] if stage else 3
            self.encoder.append(nn.Sequential(block(inputs, width, 2 if stage else 1), block(width, width, 1)))
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for stage in range(len(WIDTHS) - 2, -1, -1):
            width = WIDTHS[stage]
            self.up.append(nn.ConvTranspose3d(WIDTHS[stage + 1], width, 2, 2))
            self.decoder.append(nn.Sequential(block(2 * width, width, 1), block(width, width, 1)))

    def forward(self, x):
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.up, self.decoder):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        return x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layout", choices=("contiguous", "channels_last_3d"))
    parser.add_argument("--once", action="store_true", help="one warm-up and one timed window; print the seconds alone")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    network = UNet().eval()
    x = torch.rand(1, 3, *arguments.size) * 2 - 1
    layouts = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}
    if arguments.layout:
        layouts = {arguments.layout: layouts[arguments.layout]}
    for name, layout in layouts.items():
        network = network.to(memory_format=layout)
        moved = x.to(memory_format=layout)
        times = []
        with torch.inference_mode():
            network(moved)
            for _ in range(1 if arguments.once else arguments.repeats):
                start = time.perf_counter()
                network(moved)
                times.append(time.perf_counter() - start)
        median = sorted(times)[len(times) // 2]
        if arguments.once:
            print(f"{median:.4f}")
        else:
            size = "x".join(map(str, arguments.size))
            print(f"PyTorch {torch.__version__}, {size}, {name}, {arguments.threads} threads: median {median:.3f} s")


if __name__ == "__main__":
    main()

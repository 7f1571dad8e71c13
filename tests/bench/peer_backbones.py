"""The U-Net, U-Mamba and SwinUNETR of SAT in PyTorch, from their definition, with the published names of tensors.

Modules give the features at full resolution, and every encoder stage averaged to the coarsest grid by the `pool` that
they are handed. Mamba's selective scan is the loop over steps that its authors
publish for machines without their CUDA kernel. Swin's parts are MONAI's, which SAT's network was made from.
"""
import torch
import torch.nn.functional as F
from torch import nn

import peer_network as network

SLOPE = network.SLOPE
WIDTHS = {"umamba": (64, 64, 128, 256, 512, 768), "swin": (48, 48, 96, 192, 384, 768)}
MAMBA_LAYERS, STATES, TAPS = 3, 16, 4


class Block(nn.Module):
    """Convolution, instance norm, leaky ReLU."""

    def __init__(self, _, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride, 1)
        self.norm = nn.InstanceNorm3d(outputs, eps=network.EPSILON, affine=True)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class Blocks(nn.Module):
    def __init__(self, describe, index):
        super().__init__()
        self.convs = nn.Sequential(*(Block(*describe(index, j)) for j in range(network.BLOCKS)))

    def forward(self, x):
        return self.convs(x)


class UNet(nn.Module):
    def __init__(self, _, pool):
        super().__init__()
        stages, depths = range(len(network.WIDTHS)), range(len(network.WIDTHS) - 1)
        self.pool = pool
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.stages = nn.ModuleList(nn.Sequential(Blocks(network.encoder_block, s)) for s in stages)
        self.decoder.transpconvs = nn.ModuleList(nn.ConvTranspose3d(*network.up_block(d)[1:], 2, 2) for d in depths)
        self.decoder.stages = nn.ModuleList(Blocks(network.decoder_block, d) for d in depths)

    def encode(self, x):
        """Every stage, and the same pooled."""
        stages, pooled = [], []
        for s, stage in enumerate(self.encoder.stages):
            x = stage(x)
            pooled.append(self.pool(x, network.TOTAL_STRIDE >> s))
            stages.append(x)
        return stages, pooled

    def decode(self, skips):
        """Yields the features of every scale, coarsest first; `skips`, all stages, is emptied."""
        x = skips.pop()
        for up, stage in zip(self.decoder.transpconvs, self.decoder.stages):
            x = stage(torch.cat((up(x), skips.pop()), 1))
            yield x

    def forward(self, x):
        skips, pooled = self.encode(x)
        for x in self.decode(skips):
            pass
        return [x, *pooled]


class Unit(nn.Module):
    """Convolution and instance norm."""

    def __init__(self, inputs, outputs, kernel, stride=1, bias=True):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)

    def forward(self, x):
        return self.norm(self.conv(x))


class Stem(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.convs = nn.ModuleList([Unit(inputs, outputs, 3)])

    def forward(self, x):
        return F.leaky_relu(self.convs[0](x), SLOPE, inplace=True)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.conv2 = Unit(inputs, outputs, 3, stride), Unit(outputs, outputs, 3)
        steps = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        steps += [Unit(inputs, outputs, 1, bias=False)] if inputs != outputs else []
        self.skip = nn.Sequential(*steps)

    def forward(self, x):
        main = self.conv2(F.leaky_relu(self.conv1(x), SLOPE, inplace=True))
        return F.leaky_relu(main.add_(self.skip(x)), SLOPE, inplace=True)


class Stage(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.blocks = nn.ModuleList([Residual(inputs, outputs, stride)])

    def forward(self, x):
        return self.blocks[0](x)


class Mamba(nn.Module):
    def __init__(self, width):
        super().__init__()
        inner, self.rank = 2 * width, -(-width // STATES)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, TAPS, groups=inner, padding=TAPS - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.zeros(inner, STATES))
        self.D = nn.Parameter(torch.zeros(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, u):
        length = u.shape[1]
        x, gate = self.in_proj(u).chunk(2, -1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., :length]).transpose(1, 2)
        step, into, out_of = self.x_proj(x).split((self.rank, STATES, STATES), -1)
        delta = F.softplus(self.dt_proj(step))
        rate = -torch.exp(self.A_log)
        state = x.new_zeros(x.shape[0], x.shape[2], STATES)
        kept = torch.empty_like(x)
        driven = delta * x
        for t in range(length):
            state = torch.exp(delta[:, t, :, None] * rate) * state + driven[:, t, :, None] * into[:, t, None]
            kept[:, t] = (state @ out_of[:, t, :, None]).squeeze(-1)
        return self.out_proj((kept + self.D * x) * F.silu(gate))


class MambaLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.mamba = nn.LayerNorm(width), Mamba(width)

    def forward(self, x):
        rows = x.flatten(2).transpose(1, 2)
        return self.mamba(self.norm(rows)).transpose(1, 2).reshape(x.shape)


class UMamba(nn.Module):
    def __init__(self, inputs, pool):
        super().__init__()
        widths = WIDTHS["umamba"]
        self.pool = pool
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.stem = Stem(inputs, widths[0])
        self.encoder.stages = nn.ModuleList(
            Stage(widths[max(s - 1, 0)], width, 1 if s == 0 else 2) for s, width in enumerate(widths))
        self.encoder.mamba_layers = nn.ModuleList(MambaLayer(width) for width in widths[-MAMBA_LAYERS:])
        up = list(zip(widths[:0:-1], widths[-2::-1]))
        self.decoder.transpconvs = nn.ModuleList(nn.ConvTranspose3d(low, high, 2, 2) for low, high in up)
        self.decoder.stages = nn.ModuleList(Stage(2 * high, high, 1) for _, high in up)

    def forward(self, x):
        x, skips = self.encoder.stem(x), []
        for s, stage in enumerate(self.encoder.stages):
            x = stage(x)
            mamba = s - len(self.encoder.stages) + MAMBA_LAYERS
            x = self.encoder.mamba_layers[mamba](x) if mamba >= 0 else x
            skips.append(x)
        pooled = [self.pool(features, 1 << (len(skips) - 1 - s)) for s, features in enumerate(skips)]
        skips.pop()
        for up, stage in zip(self.decoder.transpconvs, self.decoder.stages):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        return [x, *pooled]


def merge(self, x):
    """PatchMerging as SAT was trained with it: two of the eight parts stand twice, two never."""
    parts = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    return self.reduction(self.norm(torch.cat([x[:, i::2, j::2, k::2] for i, j, k in parts], -1)))


class SwinUnetr(nn.Module):
    def __init__(self, inputs, pool):
        super().__init__()
        from monai.networks.blocks import UnetrBasicBlock, UnetrUpBlock
        from monai.networks.nets.swin_unetr import PatchMerging, SwinTransformer

        merging = type("Merging", (PatchMerging,), {"forward": merge})

        widths = WIDTHS["swin"]
        self.pool = pool
        self.encoder = nn.Module()
        self.encoder.swinViT = SwinTransformer(
            inputs, widths[0], (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (3, 6, 12, 24), spatial_dims=3,
            downsample=merging)
        for s, width in enumerate(widths):
            block = UnetrBasicBlock(3, width if s else inputs, width, 3, 1, "instance", res_block=True)
            setattr(self.encoder, f"encoder{s + 1}", block)
        for s in range(len(widths) - 1):
            up = UnetrUpBlock(3, widths[s + 1], widths[s], 3, 2, "instance", res_block=True)
            setattr(self, f"decoder{s + 1}", up)

    def forward(self, x):
        inputs = [x, *self.encoder.swinViT(x, normalize=True)]
        skips = [getattr(self.encoder, f"encoder{s + 1}")(features) for s, features in enumerate(inputs)]
        pooled = [self.pool(features, 1 << (len(skips) - 1 - s)) for s, features in enumerate(skips)]
        x = skips.pop()
        while skips:
            x = getattr(self, f"decoder{len(skips)}")(x, skips.pop())
        return [x, *pooled]


NETWORKS = {"unet": UNet, "umamba": UMamba, "swin": SwinUnetr}

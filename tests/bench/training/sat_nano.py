"""SAT-Nano in PyTorch as it is trained (U-Net, query decoder, four mask heads, loss), from its definition.

Tensors have the published names. Weights and batch come from the generator of the recorded values, numbers that follow
from a name, so that every program makes the same. Dropout is off.
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import peer_backbones  # noqa: E402
import peer_network as network  # noqa: E402

WIDTH, HEADS, LAYERS, FEEDFORWARD = 768, 8, 6, 2048
HIDDEN = (256, 256, 384, 512)  # of the mask heads, full resolution first


class Mlp(nn.Sequential):
    def __init__(self, inputs, hidden, outputs):
        super().__init__(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs), nn.GELU())


class Layer(nn.Module):
    """Queries look at the image's tokens, not at each other. `norm1` is published and never read."""

    def __init__(self):
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(WIDTH, FEEDFORWARD), nn.Linear(FEEDFORWARD, WIDTH)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(self, x, keys, values):
        x = x + self.multihead_attn(self.norm2(x), keys, values, need_weights=False)[0]
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


def positions(grid):
    """Sines and cosines of a token's place, a third of the channels an axis: [tokens, WIDTH]."""
    channels = WIDTH // 3
    rates = 10000 ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    axes = []
    for axis, size in enumerate(grid):
        angles = torch.arange(size, dtype=torch.float64)[:, None] * rates
        code = torch.stack((angles.sin(), angles.cos()), -1).reshape(size, channels)
        shape = [1, 1, 1, channels]
        shape[axis] = size
        axes.append(code.reshape(shape).expand(*grid, channels))
    return torch.cat(axes, -1).reshape(-1, WIDTH)


class SatNano(nn.Module):
    """A window and queries in, the loss of each scale out."""

    def __init__(self, size, pool):
        super().__init__()
        self.backbone = peer_backbones.UNet(network.INPUTS, pool)
        self.projection_layer = Mlp(sum(network.WIDTHS), WIDTH, WIDTH)
        self.transformer_decoder = nn.Module()
        self.transformer_decoder.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.transformer_decoder.norm = nn.LayerNorm(WIDTH)
        heads = [Mlp(WIDTH, hidden, width) for hidden, width in zip(HIDDEN, network.WIDTHS)]
        self.mask_embed_proj, self.mid_mask_embed_proj = heads[0], nn.ModuleList(heads[1:])
        grid = [side // network.TOTAL_STRIDE for side in size]
        self.register_buffer("position", positions(grid).to(torch.get_default_dtype()), persistent=False)

    def logits(self, image, queries):
        """[B, N, H, W, D] of each scale, full resolution first."""
        skips, pooled = self.backbone.encode(image)
        tokens = self.projection_layer(torch.cat(pooled, 1).flatten(2).transpose(1, 2))
        x, keys = queries, tokens + self.position
        for layer in self.transformer_decoder.layers:
            x = layer(x, keys, tokens)
        x = self.transformer_decoder.norm(x)
        scales = list(self.backbone.decode(skips))[::-1]
        heads = [self.mask_embed_proj, *self.mid_mask_embed_proj]
        return [torch.einsum("bchwd,bnc->bnhwd", features, head(x)) for features, head in zip(scales, heads)]

    def forward(self, image, queries, targets, counted):
        return segmentation_loss(self.logits(image, queries), targets, counted)


def segmentation_loss(logits, targets, counted):
    """Dice and cross-entropy of each scale, times the scale's weight, in full precision."""
    weights = [0.5**s for s in range(len(logits))]
    losses = []
    for s, (z, t) in enumerate(zip(logits, targets)):
        z = z.to(t.dtype).flatten(2)
        p, t = z.sigmoid(), t.flatten(2)
        dice = 1 - (2 * (p * t).sum(-1) + 1e-7) / (p.square().sum(-1) + t.square().sum(-1) + 1e-7)
        entropy = F.binary_cross_entropy_with_logits(z, t, reduction="none").mean(-1)
        loss = ((dice + entropy) * counted).sum() / (counted.sum() + 1e-14)
        losses.append(loss * weights[s] / sum(weights))
    return torch.stack(losses)


def coarser(masks):
    """The masks of every scale: every second voxel of the scale before."""
    return [masks[..., :: 1 << s, :: 1 << s, :: 1 << s].contiguous() for s in range(len(HIDDEN))]


def unit(name, count):
    """`count` numbers in [0, 1) that follow from a name."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = np.uint32(seed) + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x2C1B3C6D)
    x ^= x >> np.uint32(12)
    x *= np.uint32(0x297A2D39)
    x ^= x >> np.uint32(15)
    return x / 2.0**32


def field(name, shape, scale, offset=0):
    values = offset + scale * (2 * unit(name, int(np.prod(shape))) - 1)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def weight(name, shape):
    if name == "mask_embed_proj.2.bias":
        return field(name, shape, 0.02, -0.4)
    if "norm" in name and name.endswith("weight"):
        return field(name, shape, 0.1, 1)
    if name.endswith("bias"):
        return field(name, shape, 0.02)
    return field(name, shape, (3 / np.prod(shape[1:])) ** 0.5)


def make_model(size, pool):
    model = SatNano(size, pool)
    state = {name: weight(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, strict=True)
    return model


def make_batch(size, prompts):
    """Image, queries and masks of every scale."""
    image = field("image", (1, 1, *size), 1.5).expand(1, network.INPUTS, *size)
    masks = unit("mask", prompts * int(np.prod(size))).reshape(1, prompts, *size) < 0.25
    return image, field("queries", (1, prompts, WIDTH), 1), coarser(torch.from_numpy(masks).float())

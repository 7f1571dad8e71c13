"""ViT-B/14 as RAD-DINO has it: its sizes, random weights under Hugging Face's names, its PyTorch and ONNX forms."""
import numpy as np

WIDTH, DEPTH, HEADS, HIDDEN, PATCH, TABLE = 768, 12, 12, 3072, 14, 37
SIDE = PATCH * TABLE
EPSILON = 1e-6


def make_weights():
    """Random weights of a trained network's scale."""
    rng = np.random.default_rng(1)
    weights = {}

    def normal(name, shape, mean, deviation):
        weights[name] = (mean + deviation * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)

    def dense(name, inputs, outputs):
        normal(name + ".weight", (outputs, inputs), 0, inputs**-0.5)
        normal(name + ".bias", (outputs,), 0, 0.02)

    def norm(name):
        normal(name + ".weight", (WIDTH,), 1, 0.05)
        normal(name + ".bias", (WIDTH,), 0, 0.05)

    normal("embeddings.cls_token", (1, 1, WIDTH), 0, 0.1)
    normal("embeddings.position_embeddings", (1, 1 + TABLE * TABLE, WIDTH), 0, 0.1)
    normal("embeddings.patch_embeddings.projection.weight", (WIDTH, 3, PATCH, PATCH), 0, (3 * PATCH * PATCH) ** -0.5)
    normal("embeddings.patch_embeddings.projection.bias", (WIDTH,), 0, 0.02)
    for i in range(DEPTH):
        layer = f"encoder.layer.{i}."
        norm(layer + "norm1")
        for part in ("query", "key", "value"):
            dense(layer + "attention.attention." + part, WIDTH, WIDTH)
        dense(layer + "attention.output.dense", WIDTH, WIDTH)
        normal(layer + "layer_scale1.lambda1", (WIDTH,), 0.3, 0.05)
        norm(layer + "norm2")
        dense(layer + "mlp.fc1", WIDTH, HIDDEN)
        dense(layer + "mlp.fc2", HIDDEN, WIDTH)
        normal(layer + "layer_scale2.lambda1", (WIDTH,), 0.3, 0.05)
    norm("layernorm")
    return weights


def make_images(batch):
    """[B, H, W, 3]"""
    return np.random.default_rng(2).standard_normal((batch, SIDE, SIDE, 3), dtype=np.float32)


def torch_network(weights):
    """The network in PyTorch's own words, with its fused attention; takes [B, 3, H, W]."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH, EPSILON), nn.LayerNorm(WIDTH, EPSILON)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
            self.scale1, self.scale2 = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.ones(WIDTH))

        def forward(self, x):
            batch, tokens, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, WIDTH)
            x = x + self.scale1 * self.out(mixed)
            return x + self.scale2 * self.down(F.gelu(self.up(self.norm2(x))))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
            self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
            self.positions = nn.Parameter(torch.zeros(1, 1 + TABLE * TABLE, WIDTH))
            self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
            self.norm = nn.LayerNorm(WIDTH, EPSILON)

        def forward(self, x):
            patches = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat((self.token.expand(x.shape[0], -1, -1), patches), 1) + self.positions
            return self.norm(self.blocks(x))

    network = Network().eval()
    state = {"token": weights["embeddings.cls_token"], "positions": weights["embeddings.position_embeddings"]}
    for kind in ("weight", "bias"):
        state["patches." + kind] = weights["embeddings.patch_embeddings.projection." + kind]
        state["norm." + kind] = weights["layernorm." + kind]
        for i in range(DEPTH):
            ours, theirs = f"blocks.{i}.", f"encoder.layer.{i}."
            parts = [weights[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[ours + "qkv." + kind] = np.concatenate(parts)
            state[ours + "out." + kind] = weights[theirs + "attention.output.dense." + kind]
            state[ours + "up." + kind] = weights[theirs + "mlp.fc1." + kind]
            state[ours + "down." + kind] = weights[theirs + "mlp.fc2." + kind]
            for norm in ("norm1", "norm2"):
                state[f"{ours}{norm}.{kind}"] = weights[f"{theirs}{norm}.{kind}"]
    for i in range(DEPTH):
        for scale in ("1", "2"):
            state[f"blocks.{i}.scale{scale}"] = weights[f"encoder.layer.{i}.layer_scale{scale}.lambda1"]
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()}, strict=True)
    return network


def save_onnx(path, weights, batch):
    import torch

    torch.onnx.export(torch_network(weights), (torch.zeros(batch, 3, SIDE, SIDE),), path, input_names=["x"],
                      output_names=["tokens"], opset_version=18, dynamo=False)

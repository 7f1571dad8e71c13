"""The network of the comparison: its sizes, weights and window as files that every program reads, and its ONNX form.

The U-Net of SAT-Nano: six stages of two 3x3x3 convolutions (bias, instance norm, leaky ReLU), transposed convolutions
on the way up, skips joined by concatenation (up-sampled first). Results: the features at full resolution, and every
encoder stage averaged to the coarsest grid. Tensors have the published names and shapes. The PyTorch form is in
peer_backbones.py.
"""
import numpy as np

NETWORKS = {"unet": ("U-Net of SAT-Nano", "UNET"), "umamba": ("U-Mamba of SAT", "UMamba"),
            "swin": ("SwinUNETR of SAT", "SwinUNETR")}  # what it is, and its published name
WIDTHS = (64, 64, 128, 256, 512, 768)
BLOCKS = 2
INPUTS = 3
SLOPE = 0.01
EPSILON = 1e-5
TOTAL_STRIDE = 2 ** (len(WIDTHS) - 1)


def encoder_block(stage, index):
    """Name, inputs, outputs and stride of a convolution on the way down."""
    inputs = WIDTHS[stage] if index else WIDTHS[stage - 1] if stage else INPUTS
    return f"encoder.stages.{stage}.0.convs.{index}", inputs, WIDTHS[stage], 2 if stage and not index else 1


def decoder_block(depth, index):
    """The same on the way up; depth 0 is the coarsest."""
    width = WIDTHS[len(WIDTHS) - 2 - depth]
    return f"decoder.stages.{depth}.convs.{index}", width if index else 2 * width, width, 1


def up_block(depth):
    """Name, inputs and outputs of a transposed convolution."""
    return f"decoder.transpconvs.{depth}", WIDTHS[len(WIDTHS) - 1 - depth], WIDTHS[len(WIDTHS) - 2 - depth]


def make_weights():
    """Random weights of a trained network's scale: He's for convolutions, gains near 1, small shifts and biases."""
    rng = np.random.default_rng(1)
    weights = {}

    def normal(name, shape, mean, deviation):
        weights[name] = (mean + deviation * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)

    def block(name, inputs, outputs, _):
        normal(name + ".conv.weight", (outputs, inputs, 3, 3, 3), 0, (2 / (27 * inputs)) ** 0.5)
        normal(name + ".conv.bias", (outputs,), 0, 0.05)
        normal(name + ".norm.weight", (outputs,), 1, 0.1)
        normal(name + ".norm.bias", (outputs,), 0, 0.1)

    for stage in range(len(WIDTHS)):
        for index in range(BLOCKS):
            block(*encoder_block(stage, index))
    for depth in range(len(WIDTHS) - 1):
        name, inputs, outputs = up_block(depth)
        normal(name + ".weight", (inputs, outputs, 2, 2, 2), 0, inputs**-0.5)
        normal(name + ".bias", (outputs,), 0, 0.05)
        for index in range(BLOCKS):
            block(*decoder_block(depth, index))
    return weights


def make_backbone_weights(network):
    """The same for a network of peer_backbones.py, by the names and shapes that it asks for."""
    import peer_backbones

    rng = np.random.default_rng(1)
    weights = {}
    for name, tensor in peer_backbones.NETWORKS[network](INPUTS, None).state_dict().items():
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            weights[name] = tensor.numpy()  # Swin's table of indices
        elif name.endswith("A_log"):
            weights[name] = np.broadcast_to(np.log(np.arange(1, shape[-1] + 1, dtype=np.float32)), shape).copy()
        else:
            fan_in = int(np.prod(shape[1:]))
            mean = 1 if name.endswith(".D") or (len(shape) == 1 and "norm" in name and name.endswith("weight")) else 0
            mean = -3 if name.endswith("dt_proj.bias") else mean
            deviation = 0.1 if len(shape) == 1 else (2 / fan_in) ** 0.5 if len(shape) == 5 else fan_in**-0.5
            normal = rng.standard_normal(shape, dtype=np.float32)
            weights[name] = (mean + deviation * normal).astype(np.float32)
    return weights


def make_window(size):
    """A grey image of random numbers in all channels, as SAT's loader makes it: [1, H, W, D, 3]."""
    grey = np.random.default_rng(2).standard_normal((1, *size, 1), dtype=np.float32)
    return np.repeat(grey, INPUTS, axis=-1)


def save_onnx(path, weights, size):
    """The network for a window of exactly this size, channels first; outputs "full" and "pooled0" to "pooled5"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = []

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def block(x, name, _, __, stride):
        x = node("Conv", [x, name + ".conv.weight", name + ".conv.bias"], name + ".conv",
                 kernel_shape=[3] * 3, strides=[stride] * 3, pads=[1] * 6)
        x = node("InstanceNormalization", [x, name + ".norm.weight", name + ".norm.bias"], name + ".norm",
                 epsilon=EPSILON)
        return node("LeakyRelu", [x], name, alpha=SLOPE)

    x, stages = "x", []
    for stage in range(len(WIDTHS)):
        for index in range(BLOCKS):
            x = block(x, *encoder_block(stage, index))
        stages.append(x)
    for stage, features in enumerate(stages):
        stride = [TOTAL_STRIDE >> stage] * 3
        node("AveragePool", [features], f"pooled{stage}", kernel_shape=stride, strides=stride)
    for depth in range(len(WIDTHS) - 1):
        name = up_block(depth)[0]
        x = node("ConvTranspose", [x, name + ".weight", name + ".bias"], name, kernel_shape=[2] * 3, strides=[2] * 3)
        x = node("Concat", [x, stages[len(WIDTHS) - 2 - depth]], f"decoder.joined.{depth}", axis=1)
        for index in range(BLOCKS):
            x = block(x, *decoder_block(depth, index))
    node("Identity", [x], "full")

    def value(name, channels, stride):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *(side // stride for side in size)])

    outputs = [value("full", WIDTHS[0], 1)]
    outputs += [value(f"pooled{stage}", width, TOTAL_STRIDE) for stage, width in enumerate(WIDTHS)]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "unet", [value("x", INPUTS, 1)], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)

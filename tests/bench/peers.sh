#!/bin/sh
# Compares the U-Net (default) or ViT-B/14 (--network vit) with PyTorch's, OpenVINO's and ONNX Runtime's on this
# machine, U-Mamba and SwinUNETR with PyTorch's (--network umamba|swin), or a training step of SAT-Nano with PyTorch's
# (--network training, or train_peers.sh): the same weights, the same input, the programs taking turns.
# docs/benchmarks.md explains the tables.
#   peers.sh [--venv DIR] [--bench FILE] [OPTION...]
# DIR is a Python virtual environment, made if it is missing and kept (default: sat-peers in the user's cache folder);
# FILE is the built sat_bench_unet, sat_bench_vit or sat_bench_training (default: that of build/tests/bench). Other
# options are those of peers.py, vit/vit_peers.py or training/train_peers.py: --help lists them.
set -eu
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/sat-peers
bench=
script=$here/peers.py program=sat_bench_unet
while [ $# -gt 1 ]; do
  case "$1 $2" in
    "--venv "*) venv=$2 ;;
    "--bench "*) bench=$2 ;;
    "--network vit") script=$here/vit/vit_peers.py program=sat_bench_vit ;;
    "--network training") script=$here/training/train_peers.py program=sat_bench_training ;;
    *) break ;;
  esac
  shift 2
done

# The CPU build of PyTorch is a tenth of the size; where its index cannot be reached, the ordinary one serves.
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import torch' 2> /dev/null; then
  "$venv/bin/python" -m pip install --quiet --retries 0 --timeout 15 --index-url https://download.pytorch.org/whl/cpu \
    torch 2> /dev/null || "$venv/bin/python" -m pip install --quiet torch
fi
if ! "$venv/bin/python" -c 'import numpy, onnx, onnxruntime, openvino, safetensors' 2> /dev/null; then
  "$venv/bin/python" -m pip install --quiet numpy onnx onnxruntime openvino safetensors
fi
case " $* " in
  *" --network swin "*)  # the peer is made of MONAI's parts
    "$venv/bin/python" -c 'import einops, monai' 2> /dev/null || "$venv/bin/python" -m pip install --quiet einops monai
    ;;
esac

bench=${bench:-$here/../../build/tests/bench/$program}
if [ ! -x "$bench" ]; then
  echo "peers.sh: no program at $bench; build it with: cmake --build build --target $program" >&2
  exit 1
fi
exec "$venv/bin/python" "$script" --bench "$bench" "$@"

#!/bin/sh
# Compares a training step of SAT-Nano with PyTorch's on this machine: the same weights, batch, loss and optimiser.
#   train_peers.sh [--venv DIR] [--bench FILE] [OPTION...]
# Options are those of peers.sh, then those of training/train_peers.py: --help lists them.
exec sh "$(dirname -- "$0")/peers.sh" --network training "$@"

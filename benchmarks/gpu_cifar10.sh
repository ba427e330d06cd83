#!/usr/bin/env bash
# CIFAR-10 on one GPU, for so many seconds: gpu_cifar10.py says what it takes and what it leaves.
#   benchmarks/gpu_cifar10.sh FOLDER SECONDS [OUT]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root/packages/am/src${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" "$root/benchmarks/gpu_cifar10.py" "$@"

#!/usr/bin/env bash
# Train on several GPUs of one machine (or, without a GPU, in several CPU processes):
#   bash tools/dist_train.sh CONFIG NUM_GPUS [flags of train.py]
# Several machines: set NNODES, NODE_RANK and MASTER_ADDR on each.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash tools/dist_train.sh CONFIG NUM_GPUS [flags of train.py]" >&2
    exit 2
fi
root="$(cd "$(dirname "$0")/.." && pwd)"
config=$1 gpus=$2
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" \
    -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$root/tools/train.py" "$config" --launcher pytorch "${@:3}"

#!/usr/bin/env bash
# Test on several GPUs of one machine:
#   bash tools/dist_test.sh CONFIG CHECKPOINT NUM_GPUS [flags of test.py]
# Several machines: set NNODES, NODE_RANK and MASTER_ADDR on each.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: bash tools/dist_test.sh CONFIG CHECKPOINT NUM_GPUS [flags of test.py]" >&2
    exit 2
fi
root="$(cd "$(dirname "$0")/.." && pwd)"
config=$1 checkpoint=$2 gpus=$3
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" \
    -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$root/tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"

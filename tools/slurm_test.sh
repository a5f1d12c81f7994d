#!/usr/bin/env bash
# Test as a Slurm job:
#   GPUS=8 bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of test.py]
# GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS say the rest.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags]" >&2
    exit 2
fi
root="$(cd "$(dirname "$0")/.." && pwd)"
partition=$1 job=$2 config=$3 checkpoint=$4
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
# SRUN_ARGS unquoted: it holds several words.
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" \
    --job-name="$job" --gres=gpu:"$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/test.py" "$config" "$checkpoint" \
    --launcher slurm "${@:5}"

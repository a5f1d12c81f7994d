#!/usr/bin/env bash
# Train as a Slurm job:
#   GPUS=8 bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of train.py]
# GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS say the rest. A job that saves before its
# time limit and resumes by itself: docs/stopping_and_ranks.md.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags]" >&2
    exit 2
fi
root="$(cd "$(dirname "$0")/.." && pwd)"
partition=$1 job=$2 config=$3 work_dir=$4
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
# SRUN_ARGS unquoted: it holds several words.
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$partition" \
    --job-name="$job" --gres=gpu:"$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$root/tools/train.py" "$config" \
    --work-dir "$work_dir" --launcher slurm "${@:5}"

#!/bin/bash
# Toy world: a detector with 20 labeled scenes, without pasting and with objects of these
# scenes pasted at random places, at those that a TopNet finds plausible, and by mmdet's
# CopyPaste. Every seed has scenes of its own; all are tested on the same 200.
#
#     TOPNET=CHECKPOINT bash projects/placement/copy_paste.sh SEED [RUN...]
#
# RUN: none, random, placed, mixed; all without any, about 3 minutes each on one CPU core.
# TOPNET_CONFIG is the config of the checkpoint, by default the toy world's. The same
# command continues after an interruption; OPTIONS are further --cfg-options of training.
set -euo pipefail
seed=$1 runs=${*:2}
topnet=${TOPNET:-work_dirs/topnet_tinyrn_1xb32-10e_shapes-128x128/epoch_10.pth}
topnet_config=${TOPNET_CONFIG:-configs/topnet/topnet_tinyrn_1xb32-10e_shapes-128x128.py}
data=data/shapes_paste scenes=data/shapes_paste/seed$seed/ out=work_dirs/placement/seed$seed
config=projects/placement/configs/faster-rcnn_r18-fpn_1xb4-200it_shapes

# The list of a split is written last: without it, the folder is new or unfinished.
[ -e $data/evaluation/annotations/instances_test.json ] ||
    python tools/data/make_shapes.py $data/evaluation --train 0 --val 0 --test 200 \
        --overwrite
[ -e "${scenes}annotations/instances_train.json" ] ||
    python tools/data/make_shapes.py "$scenes" --train 20 --val 0 \
        --seed-offset $((20 * seed)) --overwrite
# Few labels: whole objects are rare, so those that touch others are used, too.
python tools/data/place_objects.py "$topnet_config" "$topnet" \
    "${scenes}annotations/instances_train.json" "$out/bank" --images "${scenes}images/train" \
    --with-occluded

dataset=train_dataloader.dataset
for run in ${runs:-none random placed mixed}; do
    where=("$dataset.data_root=$scenes")
    case $run in
        none) setting=$config.py;;
        mixed) setting=$config-mixed.py where=("$dataset.dataset.data_root=$scenes");;
        *) setting=$config-$run.py where+=("$dataset.pipeline.2.bank=$out/bank");;
    esac
    if [ ! -e "$out/$run/done" ]; then
        # shellcheck disable=SC2086
        python tools/train.py $setting --work-dir "$out/$run" \
            --cfg-options randomness.seed="$seed" "${where[@]}" ${OPTIONS:-}
        python tools/test.py $setting "$(cat "$out/$run/last_checkpoint")" \
            --work-dir "$out/$run/test" --cfg-options "${where[@]}"
        touch "$out/$run/done"
    fi
done

#!/bin/bash
# Toy world: detectors after no pretraining, image-level pretraining and region-level
# pretraining, and without shifted windows. One seed; the same command continues after
# an interruption.
#
#     bash projects/open_vocabulary/dito_shapes.sh SEED [RUN...]
#
# RUN: images, images_3, images_9, regions, det_none, det_images_3, det_images_9,
# det_regions, det_unshifted; all without any, which take over an hour on one CPU core.
# CAPTIONS=seen before the command: captions, too, name only the 56 pairs with boxes.
# Needs data/shapes_ov, data/shapes_ov_test and work_dirs/toy_clip, see docs/dito.md.
set -euo pipefail
seed=$1 runs=${*:2} captions=${CAPTIONS:-all}
out=work_dirs/dito_shapes/$captions/seed$seed
images=configs/dito/dito-pretrain-images_vit-tiny_1xb64-40e_shapes.py
regions=configs/dito/dito-pretrain-regions_vit-tiny_1xb64-3e_shapes.py
detector=configs/dito/dito_faster-rcnn-vit-tiny_1xb8-6e_shapes.py
# Scenes that no setting was chosen or scored on.
test_data=(
    test_dataloader.dataset.data_root=data/shapes_ov_test/
    test_evaluator.ann_file=data/shapes_ov_test/annotations/combinations_test.json)

wanted() {
    [ -z "$runs" ] || [[ " $runs " = *" $1 "* ]]
}

train() {  # CONFIG NAME OPTION...
    if wanted "$2" && [ ! -e "$out/$2/done" ]; then
        python tools/train.py "$1" --work-dir "$out/$2" \
            --cfg-options randomness.seed="$seed" "${@:3}"
        touch "$out/$2/done"
    fi
}

pretrain() {  # CONFIG NAME OPTION...
    train "$@" train_dataloader.dataset.combinations="$captions"
}

detect() {  # NAME OPTION...: train and test, also without the scores of the frozen copy
    train $detector "$@"
    for fusion in fused alone; do
        weights=()
        [ $fusion = fused ] || weights=(
            model.test_cfg.rcnn.base_weight=0 model.test_cfg.rcnn.novel_weight=0)
        if wanted "$1" && [ ! -e "$out/$1/$fusion/done" ]; then
            python tools/test.py $detector "$out/$1/epoch_6.pth" \
                --work-dir "$out/$1/$fusion" \
                --cfg-options "${test_data[@]}" "${@:2}" "${weights[@]}"
            touch "$out/$1/$fusion/done"
        fi
    done
}

start() {  # CHECKPOINT PART...: options that load these parts of a detector
    for part in "${@:2}"; do echo "model.$part.init_cfg.checkpoint=$1"; done
}

pretrain $images images
# Three epochs more: of whole images, or of regions. 9 take the time of the regions.
for epochs in 3 9; do
    pretrain $images images_$epochs load_from="$out/images/epoch_40.pth" \
        train_cfg.max_epochs=$epochs
done
pretrain $regions regions load_from="$out/images/epoch_40.pth"

fresh_heads=(model.neck.init_cfg=None model.roi_head.bbox_head.init_cfg=None)
pretrained=($(start "$out/regions/epoch_3.pth" backbone vlm neck roi_head.bbox_head))
detect det_none "${fresh_heads[@]}" model.backbone.init_cfg=None model.vlm=None
for epochs in 3 9; do
    detect det_images_$epochs "${fresh_heads[@]}" \
        $(start "$out/images_$epochs/epoch_$epochs.pth" backbone vlm)
done
detect det_regions "${pretrained[@]}"
detect det_unshifted "${pretrained[@]}" model.backbone.shift=0

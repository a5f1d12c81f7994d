"""Blood cells (BCCD): boxes of two classes, the third one is named at test time.

python tools/data/make_ov_split.py data/bccd/annotations/train.json \
    --val data/bccd/annotations/val.json --novel 'WBC;' --out data/bccd_ov

The text tower knows the words of the toy world alone: classes have descriptions in
place of their names.
"""
_base_ = './dito_faster-rcnn-vit-tiny_1xb8-6e_shapes.py'

images = dict(img='data/bccd/images/')
lists = 'data/bccd_ov/train_'
classes = dict(
    classes=lists + 'all_classes.txt', base_classes=lists + 'base_classes.txt',
    novel_classes=lists + 'novel_classes.txt')
# RBC, WBC, Platelets
model = dict(
    class_names=['pink ring', 'purple star'],
    test_class_names=['pink ring', 'purple circle', 'purple star'],
    # 20 x 20 patches; windows of the frozen copy as large as in pretraining.
    vlm=dict(windows=(5,)),
    # Anchors of 16, 32, 64 and 128 pixels: platelets have 20, white cells 96. The
    # fourth level is not pretrained.
    neck=dict(levels=(2, 3, 4, 5)),
    rpn_head=dict(strides=(4, 8, 16, 32), anchor_scale=4),
    roi_head=dict(strides=(4, 8, 16, 32)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000, max_per_img=300)),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, nms_iou=0.7, max_per_img=300),
        rcnn=dict(max_per_img=100)))
image_size = 320
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    # Red cells are alike in size, white ones twice as large: boxes of sizes that no
    # label has are found only by a detector that has seen all sizes.
    dict(type='mmcontrast.LargeScaleJitter', size=image_size, ratio_range=(0.5, 2.5)),
    dict(type='mmdet.PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcontrast.LargeScaleJitter', size=image_size, ratio_range=None),
    dict(type='mmdet.PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(batch_size=4, dataset=dict(
    _delete_=True, type='mmcontrast.OpenVocabularyDataset',
    ann_file='data/bccd_ov/train_base.json', data_prefix=images,
    metainfo=dict(classes=lists + 'base_classes.txt'), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='mmcontrast.OpenVocabularyDataset',
    ann_file='data/bccd_ov/val_all.json', data_prefix=images, metainfo=classes,
    test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(
    _delete_=True, type='mmcontrast.OpenVocabularyDataset',
    ann_file='data/bccd/annotations/test.json', data_prefix=images, metainfo=classes,
    test_mode=True, pipeline=test_pipeline))
val_evaluator = dict(ann_file='data/bccd_ov/val_all.json', classwise=True)
test_evaluator = dict(ann_file='data/bccd/annotations/test.json', classwise=True)
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs, eta_min=1e-6,
         convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(interval=max_epochs))

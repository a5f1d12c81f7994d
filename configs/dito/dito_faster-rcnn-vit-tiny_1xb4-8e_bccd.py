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
    # 20 x 15 patches; windows of the frozen copy as large as in pretraining.
    vlm=dict(windows=(5,)),
    test_cfg=dict(rcnn=dict(max_per_img=100)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', keep_ratio=True,
         scales=[(4 * short // 3, short) for short in (192, 216, 240)]),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=(320, 240), keep_ratio=True),
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
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs, eta_min=1e-6,
         convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(interval=max_epochs))

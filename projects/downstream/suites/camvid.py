# Which pretraining helps a segmentor on road scenes, and a detector on blood cells?
# 367 photographs without labels, ResNet-18, small crops, one protocol for all methods.
# The whole takes hours on two cores, in pieces of any length:
#
#   python tools/benchmark/transfer.py camvid --jobs 2 --minutes 110
#   python tools/benchmark/transfer.py camvid --jobs 2 --reduced
title = 'Pretraining on CamVid: which method helps which task'
seeds = [0, 1, 2]
# A pretraining of its own for each seed.
pretrain_seeds = seeds

config = 'configs/{}_resnet18_1xb32-coslr-40e_camvid.py'
head_rate = {'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 1.0}
percents = {5: '5pct-', 10: '10pct-', 25: '25pct-', 100: ''}
starts = [
    # Learn best with the backbone at the rate of the head; pretrained ones at a tenth.
    dict(name='random weights', task_options=head_rate),
    dict(name='random weights, slow', seeds=[0],
         tasks=[f'{percent} % fine-tuned' for percent in percents]),
    dict(name='PixPro', config=config.format('pixpro/pixpro')),
    dict(name='PixContrast', config=config.format('pixpro/pixcontrast'), seeds=[0]),
    dict(name='SlotCon', config=config.format('slotcon/slotcon')),
    dict(name='MoCo v2', config=config.format('baselines/moco-v2')),
    dict(name='BYOL', config=config.format('baselines/byol'), seeds=[0]),
    dict(name='DenseCL', config=config.format('baselines/densecl'), seeds=[0])]

fcn = 'projects/downstream/mmseg/fcn_r18-d16_1xb8-300it_camvid-{}160x160.py'
# Nothing is chosen by a validation.
blind = {'train_cfg.val_interval': 10**6}
slow = dict.fromkeys(head_rate, 0.1)
linear = [
    dict(name=f'{percent} % linear', fraction=percent,
         group='CamVid, linear probe of the frozen backbone', metric='mIoU', scale=100,
         protocol='dense-linear', network=config.format('pixpro/pixpro'), options=dict(
             data='data/camvid', val_split='test', size=180, num_classes=11,
             ignore_index=11, fraction=percent / 100, workers=1))
    for percent in percents]
fine_tuned = [
    dict(name=f'{percent} % fine-tuned', fraction=percent,
         group='CamVid, FCN fine-tuned', metric='mIoU', config=fcn.format(name),
         options={**blind, **slow})
    for percent, name in percents.items()]
detection = dict(
    name='10 % BCCD', group='BCCD, Faster R-CNN fine-tuned', metric='coco/bbox_mAP',
    scale=100, options=blind,
    config='projects/downstream/mmdet/faster-rcnn_r18-fpn_1xb4-300it_bccd-10pct.py')
tasks = [*linear, *fine_tuned, detection]

reduced = dict(
    title=f'{title} (reduced: does everything run, and twice alike?)',
    seeds=[0], pretrain_seeds=[0],
    starts=['random weights', 'PixPro', 'SlotCon', 'MoCo v2'],
    tasks=['10 % linear', '10 % fine-tuned'],
    start_options={
        'train_cfg.max_epochs': 3, 'param_scheduler.warmup': 1,
        'default_hooks.checkpoint.interval': 3, 'default_hooks.probe.interval': 3})

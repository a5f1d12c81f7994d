"""Road scenes of CamVid on one GPU, on both towers of CLIP's RN50."""
_base_ = [
    'mmseg::_base_/models/fpn_r50.py', 'mmseg::_base_/default_runtime.py',
    '../_base_/datasets/camvid_seg.py', '../_base_/clip_pixels.py']

custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)
pretrained = 'RN50/openai'
loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
clip = dict(type='CLIPPretrained', checkpoint=pretrained)
model = dict(
    type='mmcontrast.DenseCLIP',
    pretrained=None,
    class_names=_base_.class_texts,
    data_preprocessor=dict(
        mean=_base_.clip_mean, std=_base_.clip_std,
        size=_base_.crop_size, seg_pad_val=_base_.ignore_index),
    backbone=dict(
        _delete_=True, type='mmcontrast.CLIPResNetWithAttention', tower='RN50',
        input_size=_base_.crop_size[0], init_cfg=clip),
    text_encoder=dict(type='CLIPTextEncoder', tower='RN50', init_cfg=clip),
    context_decoder=dict(type='ContextDecoder'),
    decode_head=dict(channels=256, ignore_index=_base_.ignore_index, loss_decode=loss),
    identity_head=dict(
        ignore_index=_base_.ignore_index, loss_decode=dict(loss, loss_weight=0.4)))

max_iters = 4000
# The published learning rate is for 32 images a step.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(
        backbone=dict(lr_mult=0.1), norm=dict(decay_mult=0.0))))
param_scheduler = [dict(
    type='mmcontrast.WarmupPolyLR', by_epoch=False, warmup=max_iters // 20,
    eta_min=1e-6)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=1000,
        # Written beside, then renamed: a run that dies leaves no half file.
        backend_args=dict(backend='atomic')),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))

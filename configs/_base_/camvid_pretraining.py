# Pretraining on the 367 training frames of CamVid, without labels, on a CPU: one
# protocol for all methods. Put or link the data to data/camvid (img_dir/train, and
# for the probe ann_dir and val).
_base_ = [
    './datasets/camvid_two_views.py',
    './schedules/small_data.py',
    './pretrain_runtime.py']

batch_size, view_size, epochs = 32, 96, 40
train_pipeline = [dict(type='FastTwoViews', size=view_size), dict(type='PackViews')]
train_dataloader = dict(
    batch_size=batch_size, num_workers=1, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2e-3 * batch_size / 32))
param_scheduler = dict(warmup=epochs // 10)
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=batch_size)

# A linear probe of the frozen backbone on the labeled frames, from random weights on.
labeled = dict(
    img_dir='data/camvid/img_dir/train', ann_dir='data/camvid/ann_dir/train',
    num_classes=11, ignore_index=11)
default_hooks = dict(
    logger=dict(interval=11),
    momentum=dict(start=0.95),
    checkpoint=dict(interval=epochs // 4),
    probe=dict(
        type='DenseProbeHook', kind='linear', interval=epochs // 4, size=(180, 240),
        num_train=60, num_val=50, train_dataset=labeled,
        val_dataset=dict(labeled, img_dir='data/camvid/img_dir/val',
                         ann_dir='data/camvid/ann_dir/val')))

# Slots that find sky, ground and objects of the toy world, in some minutes on a CPU.
_base_ = './slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py'

train_pipeline = _base_.train_pipeline
train_pipeline[0].update(scale=(0.2, 1.0))      # a crop of 64 pixels shows a scene
train_dataloader = dict(dataset=dict(num_images=2000, pipeline=train_pipeline))
model = dict(backbone=dict(stem_channels=32, base_channels=32))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=10)
default_hooks = dict(
    logger=dict(interval=31),
    slot_pictures=dict(interval=5, size=128),
    # How well the slots segment validation scenes, as curves.
    slot_probe=dict(type='SlotProbeHook', interval=1, num_images=60, dataset=dict(
        type='ShapesDataset', num_images=60, split='val', with_annotations=True)))

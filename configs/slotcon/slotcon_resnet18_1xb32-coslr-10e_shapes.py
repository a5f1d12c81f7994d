# Slots that tell foreground from background in the toy world, some minutes on a CPU.
_base_ = './slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py'

train_pipeline = _base_.train_pipeline
# Close-ups: an object has cells of its own. Judge the slots at the same scale, images
# of 128 pixels enlarged to 256.
train_pipeline[0].update(scale=(0.05, 0.4))
train_dataloader = dict(dataset=dict(num_images=4000, pipeline=train_pipeline))
model = dict(backbone=dict(stem_channels=32, base_channels=32))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=10)
default_hooks = dict(
    logger=dict(interval=31),
    slot_pictures=dict(interval=5, size=256),
    # How well the slots segment validation scenes, as curves.
    slot_probe=dict(
        type='SlotProbeHook', interval=1, num_images=60, size=256, dataset=dict(
            type='ShapesDataset', num_images=60, split='val', with_annotations=True)))

# Slots that find single objects in the toy world, by their color, some minutes on a
# CPU.
_base_ = './slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py'

# Close-ups: an object has cells of its own. Judge the slots at the same scale, images
# of 128 pixels upsampled to 256.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(scale=(0.05, 0.4))
# Colors stay: they tell the objects of a scene apart. Where the jitter hides them, the
# slots follow what else is common to two views of a scene, its height above all.
steps = [
    dict(type='ViewColorJitter', brightness=0.4, contrast=0.4, saturation=0.4,
         hue=0.02, prob=0.8),
    dict(type='ViewGaussianBlur', sigma=(0.1, 1.0), prob=0.3)]
train_dataloader = dict(dataset=dict(num_images=2000, pipeline=train_pipeline))
model = dict(
    data_preprocessor=dict(photometric=[steps, steps]),
    # Three stages at stride 8: finer cells at less cost than four at 16.
    backbone=dict(
        stem_channels=32, base_channels=32, num_stages=3, out_indices=(2,),
        strides=(1, 2, 1), dilations=(1, 1, 1)),
    grouping=dict(num_slots=16))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=10)
default_hooks = dict(
    logger=dict(interval=31),
    slot_images=dict(interval=5, size=256),
    # How well the slots segment validation scenes, as curves.
    slot_probe=dict(
        type='SlotProbeHook', interval=1, num_images=60, size=256, dataset=dict(
            type='ShapesDataset', num_images=60, split='val', with_annotations=True)))

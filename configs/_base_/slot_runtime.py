# The runtime of two-view pretraining for methods with slots.
_base_ = './pretrain_runtime.py'

default_hooks = dict(
    # Which slot takes which pixel of four training images: at the start, at every
    # interval and at the end, in vis_data/vis_image of the work dir.
    slot_images=dict(type='SlotImagesHook', interval=10))
# For fg ARI and mIoU on labeled images add
#   slot_probe=dict(type='SlotProbeHook', interval=10,
#                   dataset=dict(folder='data/shapes', split='val'))

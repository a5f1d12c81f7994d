# The small CLIP, trained on so that each cell of its map knows what it lies on.
_base_ = './clip_tinyrn_1xb64-coslr-32e_shapes.py'

# Single images, or mosaics of 4 x 4 of them with 256 pixels: half of the steps each.
model = dict(mosaics=(1, 4))
load_from = 'work_dirs/toy_clip/epoch_32.pth'
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=12, val_interval=6)

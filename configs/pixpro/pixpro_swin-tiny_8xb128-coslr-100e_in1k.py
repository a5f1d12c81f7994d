# PixPro on a transformer: Swin-T of mmpretrain, whose last map has 7 x 7 cells as well.
# Not a released setting: AdamW with the rate and decay of MoBY (arXiv 2105.04553).
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

num_gpus, batch_size = 8, 128
model = dict(backbone=dict(
    _delete_=True, type='mmpretrain.SwinTransformer', arch='tiny', img_size=224,
    drop_path_rate=0.1))
optim_wrapper = dict(optimizer=dict(
    _delete_=True, type='AdamW', lr=1e-3 * num_gpus * batch_size / 512,
    weight_decay=0.05))

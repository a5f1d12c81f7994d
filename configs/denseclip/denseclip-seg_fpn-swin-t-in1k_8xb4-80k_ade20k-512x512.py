"""Any backbone: Swin-T, with an attention pool that is learned here."""
_base_ = './denseclip-seg_fpn-r50-in1k_8xb4-80k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True, type='SwinTransformer', embed_dims=96, depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24), window_size=7, drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/'
                       'swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth')),
    neck=dict(in_channels=[96, 192, 384, 768]))

# PixContrast on CamVid, beside the PixPro setting of the same length.
_base_ = './pixpro_resnet18_1xb32-coslr-40e_camvid.py'

model = dict(
    propagation=None,
    loss=dict(_delete_=True, type='PixContrastLoss', pos_ratio=0.7, temperature=0.3))

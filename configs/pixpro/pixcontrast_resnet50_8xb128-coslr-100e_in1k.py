# PixContrast, the paper's contrastive variant : no propagation, and the
# pixels of the other view without a match as negatives. Temperature from the paper.
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

model = dict(
    propagation=None,
    loss=dict(_delete_=True, type='PixContrastLoss', pos_ratio=0.7, temperature=0.3))

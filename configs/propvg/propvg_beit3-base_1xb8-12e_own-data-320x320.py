"""Your own images and phrases: a COCO file for training and one for validation, with
the phrases in a list under 'refs', see docs/grounding_data.md.

Starts from a converted checkpoint of gRefCOCO, see docs/propvg.md; load_from = None
starts from BEiT-3.
"""
_base_ = './propvg_beit3-base_4xb16-12e_grefcoco-320x320.py'

load_from = 'checkpoints/propvg-grefcoco.pth'

# The files have no splits. All their objects are proposals to learn, of any size.
data = dict(
    data_root='data/my_phrases/', data_prefix=dict(img_path='images/'), split=None,
    foreground=None, min_area=0, area_share=(0, 1))
train_dataloader = dict(batch_size=8, dataset=dict(data, ann_file='refs_train.json'))
val_dataloader = dict(batch_size=8, dataset=dict(data, ann_file='refs_val.json'))
test_dataloader = val_dataloader
# The rate of 4 x 16 samples, for 8 by the linear rule.
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 8 / (4 * 16)))

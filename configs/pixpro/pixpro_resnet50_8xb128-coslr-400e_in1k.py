# The released 400-epoch recipe.
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

train_cfg = dict(max_epochs=400)

# The released 200-epoch recipe.
_base_ = './slotcon_resnet50_8xb64-coslr-100e_in1k.py'

train_cfg = dict(max_epochs=200)

# With the instance branch (weight 1, paper), 400 epochs.
_base_ = './pixpro_resnet50_8xb128-coslr-400e_in1k.py'

model = dict(instance_weight=1.0)

# With the instance branch (weight 1, paper).
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

model = dict(instance_weight=1.0)

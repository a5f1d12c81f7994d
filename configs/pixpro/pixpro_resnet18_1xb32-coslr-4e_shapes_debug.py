# The same code on the toy world, on a CPU, in about a minute.
_base_ = ['../_base_/models/pixpro_resnet18.py', '../_base_/shapes_debug.py']

model = dict(projector=dict(hidden_channels=256, out_channels=64))

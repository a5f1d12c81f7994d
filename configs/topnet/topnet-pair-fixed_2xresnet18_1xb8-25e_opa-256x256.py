"""The unofficial network with attention over positions in place of the batch."""
_base_ = './topnet-pair_2xresnet18_1xb8-25e_opa-256x256.py'

model = dict(fusion='fixed')

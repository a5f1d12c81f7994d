# SlotCon's LARS divides by the bare gradient norm.
_base_ = './lars_cosine.py'

optim_wrapper = dict(optimizer=dict(eps=0.0))

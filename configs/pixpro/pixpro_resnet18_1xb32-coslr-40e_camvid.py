# PixPro on the 367 training frames of CamVid.
_base_ = [
    '../_base_/models/pixpro_resnet18.py',
    '../_base_/camvid_pretraining.py']

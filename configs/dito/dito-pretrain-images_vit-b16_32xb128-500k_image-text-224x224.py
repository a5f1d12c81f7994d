"""Stage A: ViT-B/16 and a text tower from scratch, whole images and captions."""
_base_ = [
    '../_base_/datasets/image_text_shards.py', '../_base_/dito_pretrain_runtime.py']

train_dataloader = dict(batch_size=128, num_workers=8)
model = dict(
    type='DITOPretraining',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255]),
    backbone=dict(type='PlainViT', layers=12, width=768, patch_size=16),
    text_encoder=dict(type='CLIPTextEncoder', tower='ViT-L-14', frozen=False),
    positions=dict(type='CroppedPositions'))

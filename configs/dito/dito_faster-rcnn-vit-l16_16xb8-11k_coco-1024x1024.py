"""DITO with ViT-L/16 on OV-COCO, from the released pretraining."""
_base_ = [
    '../_base_/models/dito_vit-l16_pretrained.py',
    '../_base_/datasets/coco_ov_lsj.py', '../_base_/dito_coco_runtime.py']

embeddings = 'dito_large_embeddings/'
model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    # The release has class embeddings in place of a text tower for PyTorch. Which
    # classes their rows are was not checked here: compare text_vocabulary with them.
    text_encoder=None, text_embeddings=embeddings + 'coco_embed.npy',
    text_vocabulary=_base_.all_classes, background=embeddings + 'bg_empty_embed.npy',
    roi_head=dict(mask_head=None),
    # COCO counts 100 detections of an image.
    test_cfg=dict(rcnn=dict(max_per_img=100)))

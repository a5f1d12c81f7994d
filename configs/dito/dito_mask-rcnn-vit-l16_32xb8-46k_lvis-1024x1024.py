"""DITO with ViT-L/16 on OV-LVIS, from the released pretraining."""
_base_ = [
    '../_base_/models/dito_vit-l16_pretrained.py',
    '../_base_/datasets/lvis_ov_lsj.py', '../_base_/dito_runtime.py']

embeddings = 'dito_large_embeddings/'
model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    # The release has class embeddings in place of a text tower for PyTorch. That their
    # rows are the classes in the order of LVIS was not checked here.
    text_encoder=None, text_embeddings=embeddings + 'lvis_embed.npy',
    text_vocabulary=_base_.all_classes, background=embeddings + 'bg_empty_embed.npy')

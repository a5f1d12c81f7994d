"""Use image towers of CLIP and plain ViTs as backbones of detectors and segmentors.
"""
from .attention_pool import DenseAttentionPool
from .plain_vit import PlainViT
from .resnet import CLIPResNet, CLIPResNetWithAttention
from .vit import CLIPVisionTransformer

__all__ = ['CLIPResNet', 'CLIPResNetWithAttention', 'CLIPVisionTransformer',
           'DenseAttentionPool', 'PlainViT']

"""Use CLIP's image towers as backbones of detectors and segmentors."""
from .attention_pool import DenseAttentionPool
from .resnet import CLIPResNet, CLIPResNetWithAttention
from .vit import CLIPVisionTransformer

__all__ = ['CLIPResNet', 'CLIPResNetWithAttention', 'CLIPVisionTransformer',
           'DenseAttentionPool']

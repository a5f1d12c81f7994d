"""Provide modules that two or more methods use."""
from .backbones import (
    CLIPResNet,
    CLIPResNetWithAttention,
    CLIPVisionTransformer,
    DenseAttentionPool,
    PlainViT,
)
from .clip_weights import CLIPPretrained, load_clip_state
from .inspection import feature_channels
from .layers import ConvMLP, SimpleFeaturePyramid
from .losses import ContrastiveLoss, LogitScale
from .momentum import MomentumEncoder
from .preprocessor import TwoViewPreprocessor
from .text import CLIPTextEncoder
from .timm_weights import TimmPretrained
from .two_views import TwoViewModel

__all__ = ['CLIPPretrained', 'CLIPResNet', 'CLIPResNetWithAttention', 'CLIPTextEncoder',
           'CLIPVisionTransformer', 'ContrastiveLoss', 'ConvMLP', 'DenseAttentionPool',
           'LogitScale', 'MomentumEncoder', 'PlainViT', 'SimpleFeaturePyramid',
           'TimmPretrained', 'TwoViewModel', 'TwoViewPreprocessor', 'feature_channels',
           'load_clip_state']

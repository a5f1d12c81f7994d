"""Pretrain by pixel-level consistency: PixPro (CVPR 2021)."""
from .losses import PairConsistencyLoss, PixContrastLoss
from .pairs import pooled_keys, positive_pairs, published_coords
from .pixpro import PixPro
from .propagation import PixelPropagation

__all__ = [
    'PixPro', 'PixelPropagation', 'PairConsistencyLoss', 'PixContrastLoss',
    'pooled_keys', 'positive_pairs', 'published_coords',
]

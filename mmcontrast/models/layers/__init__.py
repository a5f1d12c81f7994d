"""Provide layers that several methods share."""
from .channel_norm import ChannelLayerNorm
from .conv_mlp import ConvMLP, RowMLP
from .conv_stem import ConvStem
from .simple_pyramid import SimpleFeaturePyramid

__all__ = ['ChannelLayerNorm', 'ConvMLP', 'ConvStem', 'RowMLP', 'SimpleFeaturePyramid']

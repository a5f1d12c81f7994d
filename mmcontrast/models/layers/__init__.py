"""Provide layers that several methods share."""
from .channel_norm import ChannelLayerNorm
from .conv_mlp import ConvMLP, RowMLP

__all__ = ['ChannelLayerNorm', 'ConvMLP', 'RowMLP']

"""Provide layers that several methods share."""
from .conv_mlp import ConvMLP, RowMLP

__all__ = ['ConvMLP', 'RowMLP']

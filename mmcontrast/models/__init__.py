"""What two or more methods use."""
from .backbone import feature_channels
from .layers import ConvMLP
from .momentum import MomentumTwin

__all__ = ['ConvMLP', 'MomentumTwin', 'feature_channels']

"""What two or more methods use."""
from .backbone import feature_channels
from .layers import ConvMLP
from .momentum import MomentumTwin
from .preprocessor import TwoViewPreprocessor

__all__ = ['ConvMLP', 'MomentumTwin', 'TwoViewPreprocessor', 'feature_channels']

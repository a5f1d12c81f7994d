"""What two or more methods use."""
from .backbone import feature_channels
from .layers import ConvMLP
from .momentum import MomentumTwin
from .preprocessor import TwoViewPreprocessor
from .two_views import TwoViewModel

__all__ = ['ConvMLP', 'MomentumTwin', 'TwoViewModel', 'TwoViewPreprocessor',
           'feature_channels']

"""Dense probes and metrics."""
from .dense_probe import dense_probe
from .features import feature_maps
from .labelled_images import LabelledImages, load_labelled_images

__all__ = ['LabelledImages', 'dense_probe', 'feature_maps', 'load_labelled_images']

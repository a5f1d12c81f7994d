"""Transforms: reading images, drawing views, packing them for the model."""
from .crops import CentreCrops, Crop, IndependentCrops, OverlapCrops, RandomResizedCrops
from .fast_views import FastTwoViews
from .image_text import CropRegion, PackImageText
from .loading import LoadImage, read_image, to_rgb
from .packing import PackViews, image_to_tensor
from .photometric import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewRandAugment,
    ViewSolarize,
    ViewStep,
)
from .recipes import RECIPES, view_steps
from .two_views import INTERPOLATIONS, TwoViews, cut

__all__ = [
    'INTERPOLATIONS', 'RECIPES', 'CentreCrops', 'Crop', 'CropRegion', 'FastTwoViews',
    'IndependentCrops', 'LoadImage', 'OverlapCrops', 'PackImageText', 'PackViews',
    'RandomResizedCrops', 'TwoViews', 'ViewColorJitter', 'ViewGaussianBlur',
    'ViewGrayscale', 'ViewRandAugment', 'ViewSolarize', 'ViewStep', 'cut',
    'image_to_tensor', 'read_image', 'to_rgb', 'view_steps',
]

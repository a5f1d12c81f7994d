"""Transform samples: read images, make views, pack them for the model."""
from ..gray_levels import to_rgb
from ..image_files import read_image
from .crops import CenterCrops, Crop, IndependentCrops, OverlapCrops, RandomResizedCrops
from .fast_views import FastTwoViews
from .image_text import CropRegion, PackImageText
from .loading import LoadImage, LoadLabelMap
from .packing import PackViews, image_to_tensor
from .paired_images import CropImage, CropImageCenter, FlipImageText
from .photometric import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewRandAugment,
    ViewSolarize,
    ViewStep,
)
from .recipes import RECIPES, view_steps
from .texts import CaptionFromClass, ChooseText, CleanText
from .two_views import INTERPOLATIONS, TwoViews, crop_and_resize

__all__ = [
    'INTERPOLATIONS', 'RECIPES', 'CaptionFromClass', 'CenterCrops', 'ChooseText',
    'CleanText', 'Crop', 'CropImage', 'CropImageCenter', 'CropRegion', 'FastTwoViews',
    'FlipImageText', 'IndependentCrops', 'LoadImage', 'LoadLabelMap', 'OverlapCrops',
    'PackImageText', 'PackViews', 'RandomResizedCrops', 'TwoViews', 'ViewColorJitter',
    'ViewGaussianBlur', 'ViewGrayscale', 'ViewRandAugment', 'ViewSolarize', 'ViewStep',
    'crop_and_resize', 'image_to_tensor', 'read_image', 'to_rgb', 'view_steps',
]

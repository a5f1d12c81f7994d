"""Image lists, annotation families and the toy world."""
from .bad_images import BadImage, ImageStatus, Reason
from .images import UnlabelledImages
from .shapes import ShapesDataset
from .workers import seed_worker
from .zip_backend import ZipBackend

__all__ = [
    'BadImage', 'ImageStatus', 'Reason', 'ShapesDataset', 'UnlabelledImages',
    'ZipBackend', 'seed_worker',
]

"""Image lists, annotation families and the toy world."""
from .bad_images import BadImage, ImageStatus, Reason
from .images import UnlabelledImages
from .lmdb_backend import LmdbImagesBackend
from .shapes import ShapesDataset, ShapesQuestions
from .shard_sampler import ShardSampler
from .shards import ShardedImages
from .workers import seed_worker
from .zip_backend import ZipBackend

__all__ = [
    'BadImage', 'ImageStatus', 'LmdbImagesBackend', 'Reason', 'ShapesDataset',
    'ShapesQuestions', 'ShardSampler', 'ShardedImages', 'UnlabelledImages',
    'ZipBackend', 'seed_worker',
]

"""Provide datasets: unlabeled and sharded images, labeled images, the toy world."""
from .bad_images import BadImage, ImageStatus, Reason
from .images import UnlabeledImages
from .shapes import ShapesDataset, ShapesQuestions
from .shard_sampler import ShardSampler
from .shards import ShardedImages
from .storage.lmdb_backend import LmdbImagesBackend
from .storage.zip_backend import ZipBackend
from .workers import seed_worker

__all__ = [
    'BadImage', 'ImageStatus', 'LmdbImagesBackend', 'Reason', 'ShapesDataset',
    'ShapesQuestions', 'ShardSampler', 'ShardedImages', 'UnlabeledImages',
    'ZipBackend', 'seed_worker',
]

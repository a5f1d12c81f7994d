"""Provide datasets: images, image-text pairs, phrases of objects, the toy world."""
from .bad_images import BadImage, ImageStatus, Reason
from .grounding import GroundingDataset
from .image_text_pairs import ImageTextPairs
from .images import UnlabeledImages
from .shapes import ShapesDataset, ShapesQuestions
from .shard_sampler import ShardSampler
from .sharded_pairs import ShardedPairs
from .shards import ShardedImages
from .storage.lmdb_backend import LmdbImagesBackend
from .storage.zip_backend import ZipBackend
from .workers import seed_worker

__all__ = [
    'BadImage', 'GroundingDataset', 'ImageStatus', 'ImageTextPairs',
    'LmdbImagesBackend', 'Reason', 'ShapesDataset', 'ShapesQuestions',
    'ShardSampler', 'ShardedImages', 'ShardedPairs', 'UnlabeledImages', 'ZipBackend',
    'seed_worker',
]

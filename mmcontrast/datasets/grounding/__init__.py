"""Read phrases and the objects that they mean, in the formats of the benchmarks."""
from .dataset import GroundingDataset
from .files import FORMATS, read_grounding
from .phrase_groups import PhraseGroupSampler, collate_phrases
from .records import GroundingFile, GroundingRecord, Phrase, Target
from .transforms import (
    LoadGroundingAnnotations,
    LoadGroundingImage,
    PackGrounding,
    ResizeGrounding,
)

__all__ = [
    'FORMATS', 'GroundingDataset', 'GroundingFile', 'GroundingRecord',
    'LoadGroundingAnnotations', 'LoadGroundingImage', 'PackGrounding', 'Phrase',
    'PhraseGroupSampler', 'ResizeGrounding', 'Target', 'collate_phrases',
    'read_grounding',
]

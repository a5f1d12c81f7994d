"""Convert checkpoints between layouts, with a key report and an equality check."""
from .equality import compare, prove_stages, stage_maps
from .report import Conversion, KeyReport, rename_keys, sentences

__all__ = ['Conversion', 'KeyReport', 'compare', 'prove_stages', 'rename_keys',
           'sentences', 'stage_maps']

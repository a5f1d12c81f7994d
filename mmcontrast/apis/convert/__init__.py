"""Conversion of checkpoints between layouts, with account and proof."""
from .official import convert_official, converter_names
from .proof import compare, prove_stages, stage_maps
from .report import KeyReport, rename_keys, sentences

__all__ = ['KeyReport', 'compare', 'convert_official', 'converter_names',
           'prove_stages', 'rename_keys', 'sentences', 'stage_maps']

"""Convert checkpoints between layouts, with a key report and an equality check."""
from .equality import compare_outputs, stage_maps, verify_outputs, verify_stages
from .report import Conversion, KeyReport, rename_keys

__all__ = ['Conversion', 'KeyReport', 'compare_outputs', 'rename_keys',
           'stage_maps', 'verify_outputs', 'verify_stages']

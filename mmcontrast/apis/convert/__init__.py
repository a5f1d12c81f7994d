"""Convert checkpoints: the functions behind ``tools/convert/``."""
from .official import convert_official, converter_names

__all__ = ['convert_official', 'converter_names']

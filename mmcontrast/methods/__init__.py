"""The methods, one package each."""
from . import clip
from .denseclip import ContextDecoder
from .pixpro import PixPro
from .slotcon import SlotCon

__all__ = ['ContextDecoder', 'PixPro', 'SlotCon', 'clip']

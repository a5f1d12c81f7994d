"""The methods, one package each."""
from .pixpro import PixPro
from .slotcon import SlotCon

__all__ = ['PixPro', 'SlotCon']

"""The methods, one package each."""
from .pixpro import PixPro

__all__ = ['PixPro']

"""Hooks of mmengine's Runner."""
from .momentum import MomentumHook

__all__ = ['MomentumHook']

"""Provide losses that several methods share."""
from .contrastive import ContrastiveLoss
from .logit_scale import LogitScale

__all__ = ['ContrastiveLoss', 'LogitScale']

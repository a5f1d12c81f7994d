"""What travels between data and models."""
from .view import View, ViewBatch

__all__ = ['View', 'ViewBatch']

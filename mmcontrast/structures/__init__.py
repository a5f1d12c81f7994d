"""Define the types that travel between data, models and tools."""
from .prompt import Prompt, ReferenceRegion
from .view import View, ViewBatch

__all__ = ['Prompt', 'ReferenceRegion', 'View', 'ViewBatch']

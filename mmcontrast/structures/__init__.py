"""Define the types that travel between data, models and tools."""
from .grounding import PhrasePrediction
from .prompt import Prompt, ReferenceRegion
from .view import View, ViewBatch

__all__ = ['PhrasePrediction', 'Prompt', 'ReferenceRegion', 'View', 'ViewBatch']

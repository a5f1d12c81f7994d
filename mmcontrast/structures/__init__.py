"""Define the types that travel between data, models and tools."""
from .grounding import GroundedPhrase, PhrasePrediction
from .prompt import Prompt, ReferenceRegion
from .view import View, ViewBatch

__all__ = ['GroundedPhrase', 'PhrasePrediction', 'Prompt', 'ReferenceRegion', 'View',
           'ViewBatch']

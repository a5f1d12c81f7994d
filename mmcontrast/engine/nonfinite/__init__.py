"""Detect non-finite losses and gradients, trace them to a module, save the batch.

``StepGuard`` checks every backward pass, ``StepSnapshot`` keeps the state before the
step, ``rerun_step`` runs the batch again and finds the origin, ``record`` saves all of
it in a folder. :class:`~mmcontrast.engine.hooks.NonFiniteGuardHook` connects them;
:mod:`mmcontrast.apis.analysis.replay` reads the folder.
"""
from .message import NonFiniteError
from .record import read_record
from .rerun import rerun_step

__all__ = ['NonFiniteError', 'read_record', 'rerun_step']

"""Losses and gradients that are not finite: noticed, placed, kept for a replay.

``StepGuard`` looks after every backward pass, ``StateBefore`` remembers what the step
began with, ``examine`` runs the batch again and names the first place, ``record`` keeps
all of it in a folder. :class:`~mmcontrast.engine.hooks.FiniteGuardHook` ties them
together; :mod:`mmcontrast.apis.replay` reads the folder.
"""
from .before import StateBefore
from .examine import Finding, examine
from .message import NonFiniteError
from .record import Record, read_record, write_record
from .step_guard import StepGuard

__all__ = ['Finding', 'NonFiniteError', 'Record', 'StateBefore', 'StepGuard', 'examine',
           'read_record', 'write_record']

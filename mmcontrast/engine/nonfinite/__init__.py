"""Losses and gradients that are not finite: noticed, placed, kept for a replay.

``StepGuard`` looks after every backward pass, ``StateBefore`` remembers what the step
began with, ``examine`` runs the batch again and names the first place, ``record`` keeps
all of it in a folder. :class:`~mmcontrast.engine.hooks.FiniteGuardHook` ties them
together; :mod:`mmcontrast.apis.analysis.replay` reads the folder.
"""
from .message import NonFiniteError
from .record import Record, read_record, write_record
from .rerun import Finding, examine
from .step_guard import StepGuard
from .step_snapshot import StateBefore

__all__ = ['Finding', 'NonFiniteError', 'Record', 'StateBefore', 'StepGuard', 'examine',
           'read_record', 'write_record']

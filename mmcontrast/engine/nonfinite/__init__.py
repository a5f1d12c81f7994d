"""Losses and gradients that are not finite: noticed, placed, kept for a replay.

``StepGuard`` looks after every backward pass, ``StepSnapshot`` remembers what the step
began with, ``examine`` runs the batch again and names the first place, ``record`` keeps
all of it in a folder. :class:`~mmcontrast.engine.hooks.NonFiniteGuardHook` ties them
together; :mod:`mmcontrast.apis.analysis.replay` reads the folder.
"""
from .message import NonFiniteError
from .record import Record, read_record, write_record
from .rerun import RerunResult, rerun_step
from .step_guard import StepGuard
from .step_snapshot import StepSnapshot

__all__ = [
    'RerunResult',
    'NonFiniteError',
    'Record',
    'StepSnapshot',
    'StepGuard',
    'rerun_step',
    'read_record',
    'write_record',
]

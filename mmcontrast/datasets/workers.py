"""Seed the data loading workers."""
import os
import random

import cv2
import numpy as np
import torch
from mmengine.dist import get_rank, is_distributed
from torch.utils.data import get_worker_info

from ..registry import FUNCTIONS


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed Python, NumPy and torch by worker, rank and epoch.

    For ``worker_init_fn=dict(type='mmcontrast.seed_worker')``. The loader draws a new
    seed from torch's generator whenever it starts its workers, so workers that start
    in every epoch draw new numbers in every epoch (with mmengine's own function they
    draw the same again), and persistent workers simply continue. Ranks start from the
    same torch seed, so the rank is mixed in.

    Args:
        worker_id: Index of the worker; its seed already includes it.
    """
    sequence = np.random.SeedSequence([get_worker_info().seed, _rank()])
    state = sequence.generate_state(8, dtype=np.uint32)
    random.seed(state[:4].tobytes())
    np.random.seed(state[4:6])
    torch.manual_seed(int(state[6]) << 32 | int(state[7]))
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _rank() -> int:
    # A spawned worker is in no process group; launchers set the environment.
    return get_rank() if is_distributed() else int(os.environ.get('RANK', 0))

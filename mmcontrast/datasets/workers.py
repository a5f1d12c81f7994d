"""Random numbers of the loader processes."""
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
    in every epoch draw new numbers in every epoch (mmengine's own function gives them
    the same numbers again), and workers that stay simply go on. Ranks start from the
    same torch seed, so the rank is mixed in.

    Args:
        worker_id: Index of the loader process; its seed already holds it.
    """
    sequence = np.random.SeedSequence([get_worker_info().seed, _rank()])
    words = sequence.generate_state(8, dtype=np.uint32)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:6])
    torch.manual_seed(int(words[6]) << 32 | int(words[7]))
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _rank() -> int:
    # A spawned worker is in no process group; launchers tell it by the environment.
    return get_rank() if is_distributed() else int(os.environ.get('RANK', 0))

"""Directions of feature vectors, in float32 whatever autocast says."""
import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 if it is that."""
    return x if x.dtype == torch.float64 else x.float()


def l2_normalize(x: Tensor, dim: int = 1) -> Tensor:
    """L2-normalize over ``dim``, in float32 also under autocast; 0 stays 0."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(at_least_float(x), dim=dim, eps=1e-12)


@torch.no_grad()
def feature_std(units: Tensor) -> Tensor:
    """How far unit vectors are spread out: 1 in all directions, 0 collapsed.

    Args:
        units: (N, C, H, W), normalized over C.

    Returns:
        Mean over channels of the standard deviation, times the root of C.
    """
    rows = units.detach().transpose(0, 1).flatten(1)            # (C, N * H * W)
    return rows.std(1).mean() * len(rows) ** 0.5

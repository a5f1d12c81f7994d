"""L2-normalize features and measure their std, in float32 even under autocast."""
import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float(x: Tensor) -> Tensor:
    """``x`` in float32, or unchanged if it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def l2_normalize(x: Tensor, dim: int = 1) -> Tensor:
    """L2-normalize over ``dim``, in float32 also under autocast; zeros stay zero."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(at_least_float(x), dim=dim, eps=1e-12)


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """Std of L2-normalized features, scaled: 1 if uniform, 0 if collapsed.

    Args:
        features: (N, C, H, W), L2-normalized over C.

    Returns:
        Mean over channels of the standard deviation, times the root of C.
    """
    rows = features.detach().transpose(0, 1).flatten(1)            # (C, N * H * W)
    return rows.std(1).mean() * len(rows) ** 0.5

"""Measure the Frechet distance between two sets of features: the formula of FID."""
import torch
from torch import Tensor

from ...errors import DataError


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Squared Frechet distance between Gaussians that are fitted to two sets.

    ``|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` with unbiased covariances S.
    The last trace is the nuclear norm of A B^T, A and B being square roots of the
    covariances (S_a = A^T A), here the triangular factors of the centered features:
    no covariance is formed and no root of a nearly singular matrix taken.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a
    Local Nash Equilibrium" (NeurIPS 2017).

    Args:
        features_a: (N, C), N at least 2. Computed in float64.
        features_b: (M, C), M at least 2.

    Returns:
        0 or more, up to rounding.

    Raises:
        DataError: If there are fewer than two images in a set, or a feature is not
            finite.
    """
    roots, means, total = [], [], 0.0
    for features in (features_a, features_b):
        if len(features) < 2:
            raise DataError('The Frechet distance needs two images or more in each '
                            f'set, got {len(features_a)} and {len(features_b)}.')
        features = features.double()
        if not bool(features.isfinite().all()):
            raise DataError('Some features are infinite or NaN; check the weights of '
                            'the feature network.')
        means.append(features.mean(0))
        centered = (features - means[-1]) / (len(features) - 1) ** 0.5
        total += centered.square().sum().item()
        roots.append(torch.linalg.qr(centered, mode='r').R)
    shift = (means[0] - means[1]).square().sum().item()
    overlap = torch.linalg.matrix_norm(roots[0] @ roots[1].T, 'nuc').item()
    return shift + total - 2 * overlap

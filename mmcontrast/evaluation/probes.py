"""Fit classifiers to frozen features: k-NN and logistic regression."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of the largest intermediate tensor: 64 MB of float32.
CHUNK = 1 << 24
# Rows of the bank per matrix product.
_BANK_ROWS = 1 << 16


def nearest_neighbors(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The most similar rows of a bank, in bounded memory.

    Args:
        queries, bank: (A, C) and (B, C) unit vectors.
        k: Number of neighbors; at most B are returned.

    Returns:
        Cosines (A, k), greatest first, and the rows of the bank (A, k).
    """
    k = min(k, len(bank))
    columns = max(k, _BANK_ROWS)
    rows = max(1, CHUNK // min(columns, len(bank)))
    found = []
    for part in queries.split(rows):
        cosines = part.new_empty(len(part), 0)
        places = torch.empty(len(part), 0, dtype=torch.int64, device=part.device)
        for start in range(0, len(bank), columns):
            block = part @ bank[start:start + columns].T
            value, place = block.topk(min(k, block.shape[1]), dim=1)
            cosines = torch.cat([cosines, value], 1)
            places = torch.cat([places, place + start], 1)
            cosines, order = cosines.topk(min(k, cosines.shape[1]), dim=1)
            places = places.gather(1, order)
        found.append((cosines, places))
    if not found:
        return queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64)
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def vote(cosines: Tensor, labels: Tensor, num_classes: int, temperature: float
         ) -> Tensor:
    """Class probabilities from neighbors weighted by ``exp(cosine / temperature)``.

    Source: the weighted kNN classifier of "Unsupervised Feature Learning via
    Non-Parametric Instance Discrimination" (CVPR 2018), section 3.4.

    Args:
        cosines, labels: (A, k), of the neighbors.

    Returns:
        (A, num_classes); rows sum to 1.
    """
    # softmax: scaled to sum to 1, which does not change the order.
    weights = (cosines / temperature).softmax(1)
    votes = weights.new_zeros(len(cosines), num_classes)
    return votes.scatter_add_(1, labels, weights)


class KNNScores:
    """k-NN classifier: share of the votes of the most similar training features.

    Args:
        features: (B, C) of the training set.
        targets: (B,) their labels in [0, ``num_classes``).
        k, temperature: Neighbors, and the scale of the weights, see :func:`vote`.
    """

    def __init__(self, features: Tensor, targets: Tensor, num_classes: int, k: int,
                 temperature: float) -> None:
        self.bank = F.normalize(features, dim=1)
        self.targets = targets
        self.num_classes = num_classes
        self.k = k
        self.temperature = temperature

    def __call__(self, features: Tensor) -> Tensor:
        """(A, C) features to (A, K) shares of the votes, which sum to 1."""
        cosines, places = nearest_neighbors(
            F.normalize(features, dim=1), self.bank, self.k)
        return vote(cosines, self.targets[places], self.num_classes, self.temperature)


class LinearScores:
    """Logits of a multinomial logistic regression, fitted by L-BFGS.

    Args:
        features: (B, C) of the training set; standardized inside.
        targets: (B,) their labels in [0, ``num_classes``).
        penalty: Weight of the squared norm of the weights.
        steps: Maximum number of L-BFGS iterations.
    """

    def __init__(self, features: Tensor, targets: Tensor, num_classes: int,
                 penalty: float, steps: int = 100) -> None:
        self.mean = features.mean(0)
        # A constant channel stays zero.
        self.scale = 1 / features.std(0, unbiased=False).clamp_min(1e-6)
        features = self._standardize(features)
        self.weight = features.new_zeros(
            num_classes, features.shape[1], requires_grad=True)
        self.bias = features.new_zeros(num_classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=steps, line_search_fn='strong_wolfe')

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(features, self.weight, self.bias), targets)
            loss = loss + penalty * self.weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """(A, C) features to (A, K) logits."""
        return F.linear(self._standardize(features), self.weight, self.bias)

    def _standardize(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale


def best_linear_scores(features: Tensor, targets: Tensor, num_classes: int,
                       held_out: Tensor, penalties: Sequence[float]
                       ) -> tuple[LinearScores, dict[float, float]]:
    """Choose the penalty on held-out training data, then fit to all of it.

    As in the linear probe of CLIP (ICML 2021, appendix A.3), the validation set is not
    used for the choice.

    Args:
        features, targets: As for :class:`LinearScores`.
        held_out: (B,) bool, the part on which penalties are compared.
        penalties: Candidates; of equals the greatest is taken.

    Returns:
        The classifier, and the accuracy of each penalty on the held-out part (empty
        with a single penalty, or nothing to hold out).
    """
    if len(penalties) == 1 or not held_out.any() or held_out.all():
        return LinearScores(features, targets, num_classes, max(penalties)), {}
    rest, validation = features[~held_out], features[held_out]
    accuracies = {}
    for penalty in sorted(penalties, reverse=True):
        probe = LinearScores(rest, targets[~held_out], num_classes, penalty)
        scores = probe(validation)
        hits = scores.argmax(1) == targets[held_out]
        accuracies[penalty] = hits.float().mean().item()
    # max takes the first of equals.
    best = max(accuracies, key=accuracies.get)
    return LinearScores(features, targets, num_classes, best), accuracies

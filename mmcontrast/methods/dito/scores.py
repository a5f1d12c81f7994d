"""Score RoIs against texts and fuse detector and image-text model (VLM) scores.

Source: DITO (arXiv 2310.00161), the released code. Score matrices have the background
last, as in mmdet; the released code has it first.
"""
import torch
from torch import Tensor

from ...models.functional import at_least_float


def cosine_logits(embeddings: Tensor, text: Tensor, temperature: Tensor | float
                  ) -> Tensor:
    """Cosine of each embedding with each text, over a temperature.

    In float32 also under autocast. Both sides are L2-normalized here, so a text may be
    a mean over prompts as it is; a zero vector has the cosine 0 with everything.

    Args:
        embeddings: (..., D).
        text: (K, D).
        temperature: A number or one-element tensor.

    Returns:
        (..., K).
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        cosine = _unit_or_zero(embeddings) @ _unit_or_zero(text).T
        return cosine / temperature


def fuse_scores(detector_logits: Tensor, vlm_logits: Tensor,
                base: Tensor | None = None, base_weight: float = 0.35,
                novel_weight: float = 0.65, renormalize: bool = True,
                fuse_background: bool = False) -> Tensor:
    """Geometric mean of two softmaxes, weighted by whether a class was trained.

    A class scores p^(1 - w) q^w, with p of the detector and q of the VLM; the
    background keeps p. Then each row is divided by its sum.

    F-ViT (CLIPSelf, ICLR 2024) does it with ``renormalize=False`` and
    ``fuse_background=True``, so figures of the two protocols cannot be compared.

    Args:
        detector_logits: (..., K + 1), background last.
        vlm_logits: Of the same shape.
        base: (K,) bool, the classes with labels in training. Without it every class
            counts as novel, as in the released evaluation.
        base_weight: w of base classes, and of a fused background.
        novel_weight: w of novel classes.
        renormalize: Whether rows sum to 1 in the end.
        fuse_background: Whether the background is fused too, as a base class.

    Returns:
        (..., K + 1) in float32.
    """
    num_classes = detector_logits.shape[-1] - 1
    if base is not None and len(base) != num_classes:
        raise ValueError(f'base must say of each of the {num_classes} classes, without '
                         'the background, whether it is a base class; got '
                         f'{len(base)} values.')
    log_p = at_least_float(detector_logits).log_softmax(-1)
    log_q = at_least_float(vlm_logits).log_softmax(-1)
    weight = log_p.new_full((num_classes + 1,), novel_weight)
    weight[-1] = base_weight
    if base is not None:
        weight[:-1].masked_fill_(base.to(weight.device), base_weight)
    fused = (1 - weight) * log_p + weight * log_q
    if not fuse_background:
        fused[..., -1] = log_p[..., -1]
    return fused.softmax(-1) if renormalize else fused.exp()


def weight_by_objectness(scores: Tensor, objectness: Tensor, power: float = 3.0
                         ) -> Tensor:
    """Scores times objectness^power.

    Args:
        scores: (..., K).
        objectness: (...,) in [0, 1], of the RPN.
        power: 3 in the released code; 0 leaves the scores as they are.
    """
    return scores * at_least_float(objectness).pow(power)[..., None]


def _unit_or_zero(x: Tensor) -> Tensor:
    x = at_least_float(x)
    square = x.square().sum(-1, keepdim=True)
    # The comparison makes the gradient of a zero vector zero.
    return x * (square > 0) * square.clamp(min=1e-30).rsqrt()

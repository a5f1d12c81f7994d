"""Contrast the images of a rank with the texts of all ranks, in bounded memory."""
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...errors import UserValueError, did_you_mean
from ...registry import MODELS
from ..functional import at_least_float
from .logit_blocks import LogitBlocks, LogitGradients
from .pair_losses import sigmoid_losses, softmax_losses
from .world_batch import WorldBatch

FORMS = ('softmax', 'focal', 'sigmoid')


@MODELS.register_module()
class ContrastiveLoss(nn.Module):
    """Match each image with its text among the texts of all ranks, and the reverse.

    With N pairs on all ranks, and logits l = ``scale * cosine (+ bias)``:

    - ``softmax``: symmetric InfoNCE, the mean of the cross entropies image to text and
      text to image (CLIP, Radford et al., ICML 2021).
    - ``focal``: the sum over all N * N pairs of
      ``2 * (alpha if matched else 1 - alpha) * (1 - p_t) ** gamma * BCE(l)``, divided
      by N (RO-ViT, Kim et al., CVPR 2023; its code takes the plain sum). Both
      directions are equal.
    - ``sigmoid``: the sum over all pairs of BCE(l), divided by N (SigLIP, Zhai et al.,
      ICCV 2023).

    Every rank returns the loss of the joint batch, and gradients, averaged over ranks
    as DDP does, are those of one process with the joint batch. Ranks may hold different
    numbers of pairs. Texts are gathered once for all levels, images never.

    Gradients are computed along with the loss, ``chunk_size`` images at a time: only
    they, of the size of the inputs, are kept for the backward pass, which communicates
    nothing and cannot be differentiated again. The ``softmax`` form computes logits
    twice for it.

    Args:
        form: 'softmax', 'focal' or 'sigmoid'.
        chunk_size: Images compared at a time, None for all of this rank. It changes
            memory and speed, not the result: a block holds ``chunk_size * N`` logits.
        normalize: L2-normalize the embeddings here.
        alpha, gamma: Of the focal form.
    """

    def __init__(self, form: str = 'softmax', chunk_size: int | None = 512,
                 normalize: bool = True, alpha: float = 0.5, gamma: float = 1.0
                 ) -> None:
        super().__init__()
        if form not in FORMS:
            raise UserValueError(f'form must be one of {", ".join(FORMS)}, got {form!r}'
                                 + did_you_mean(str(form), FORMS))
        if chunk_size is not None and chunk_size < 1:
            raise UserValueError(
                f'chunk_size must be at least 1, or None, got {chunk_size}.')
        if not 0 <= alpha <= 1 or gamma < 0:
            raise UserValueError('alpha must be in [0, 1] and gamma at least 0, got '
                                 f'alpha={alpha} and gamma={gamma}.')
        self.form, self.chunk_size, self.normalize = form, chunk_size, normalize
        self.sum_losses = (
            softmax_losses if form == 'softmax' else sigmoid_losses
            if form == 'sigmoid' else partial(sigmoid_losses, alpha=alpha, gamma=gamma))

    def forward(self, image: Tensor, text: Tensor, scale: Tensor | float,
                bias: Tensor | float | None = None) -> Tensor:
        """Compute in float32, also under autocast, or in float64 if an input has it.

        Args:
            image: (B, D) embeddings, or (L, B, D) of L levels.
            text: (B, D) embeddings; text i belongs to image i, in each level.
            scale: Inverse temperature, one number or L.
            bias: Of the logits of the sigmoid form, one number or L.

        Returns:
            Scalar, or (L,) losses of the levels.

        Raises:
            ValueError: If shapes do not match, if no rank has a pair, or if ``bias`` is
                missing or of no use.
        """
        self._check(image, text, bias)
        with torch.autocast(image.device.type, enabled=False):
            image, text = at_least_float(image), at_least_float(text)
            dtype = torch.promote_types(image.dtype, text.dtype)
            levels = (image if image.dim() == 3 else image[None]).to(dtype)
            inputs = (levels, text.to(dtype), _per_level('scale', scale, levels),
                      _per_level('bias', bias, levels))
            wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad
                      for x in inputs]
            losses = _Contrast.apply(*inputs, wanted, self.world_batch(text),
                                     self.chunk_size, self.normalize, self.sum_losses)
        return losses if image.dim() == 3 else losses[0]

    def world_batch(self, text: Tensor) -> WorldBatch:
        """The pairs of all ranks."""
        world = WorldBatch.of(text)
        if not world.total:
            raise UserValueError('image and text hold no pair, on any rank.')
        return world

    def _check(self, image: Tensor, text: Tensor, bias: Tensor | float | None) -> None:
        if (text.dim() != 2 or image.dim() not in (2, 3)
                or image.shape[-2:] != text.shape):
            raise UserValueError(
                'image must be (B, D) or (L, B, D) and text (B, D), got image '
                f'{tuple(image.shape)} and text {tuple(text.shape)}.')
        if self.form == 'sigmoid' and bias is None:
            raise UserValueError("form='sigmoid' needs bias, for example the one of "
                                 'LogitScale(init=10., bias=-10.).')
        if self.form != 'sigmoid' and bias is not None:
            raise UserValueError(
                f"bias belongs to form='sigmoid'; form={self.form!r} has none.")

    def extra_repr(self) -> str:
        return f'form={self.form!r}, chunk_size={self.chunk_size}'


def _per_level(name: str, value: Tensor | float | None, levels: Tensor
               ) -> Tensor | None:
    """(L,) numbers of one, or of L."""
    if value is None:
        return None
    value = torch.as_tensor(value, dtype=levels.dtype, device=levels.device)
    if value.numel() not in (1, len(levels)):
        raise UserValueError(f'{name} must be one number or {len(levels)}, one a level '
                             f'of image, got {tuple(value.shape)}.')
    return value.flatten().expand(len(levels))


class _Contrast(torch.autograd.Function):
    """(L,) losses of the joint batch.

    All ranks return the same, so the gradient of a rank's own features is that of the
    sum of the losses of all ranks, as with an all-gather that is differentiated. Scale
    and bias are the same on all ranks: each gets the gradient of the joint loss.
    """

    @staticmethod
    def forward(ctx, image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None,
                wanted: Sequence[bool], world: WorldBatch, chunk_size: int | None,
                normalize: bool, sum_losses: Callable) -> Tensor:
        if normalize:
            image, image_norm = _normalize(image)
            text, text_norm = _normalize(text)
        losses, gradients = _losses_and_gradients(
            image, text, scale, bias, wanted, world, chunk_size, sum_losses)
        if normalize:
            _through_norm(gradients[0], image, image_norm)
            _through_norm(gradients[1], text[:, None], text_norm[:, None])
        ctx.save_for_backward(*gradients)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        d_image, d_text, d_scale, d_bias = ctx.saved_tensors
        return (
            None if d_image is None else d_image * upstream[:, None, None],
            None if d_text is None else torch.einsum('bld,l->bd', d_text, upstream),
            None if d_scale is None else d_scale * upstream,
            None if d_bias is None else d_bias * upstream, *[None] * 5)


def _losses_and_gradients(
        image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None,
        wanted: Sequence[bool], world: WorldBatch, chunk_size: int | None,
        sum_losses: Callable) -> tuple[Tensor, list[Tensor | None]]:
    """(L,) losses, and gradients of the first four arguments, None if not wanted.

    That of ``text`` is (B, L, D), as levels may be weighted later.
    """
    for_image, for_text, for_scale, for_bias = wanted
    texts = world.gather(text)
    # The gradient of the scale follows from that of the images.
    d_image = torch.empty_like(image) if for_image or for_scale else None
    d_text = (texts.new_zeros(len(texts), len(image), texts.shape[1])
              if for_text else None)
    d_scale, d_bias = torch.zeros_like(scale), torch.zeros_like(scale)
    levels = range(len(image))
    losses = sum_losses(
        [LogitBlocks(image[i], texts, scale[i], None if bias is None else bias[i],
                     world.start, chunk_size) for i in levels],
        [LogitGradients(None if d_image is None else d_image[i],
                        None if d_text is None else d_text[:, i],
                        d_bias[i] if for_bias else None) for i in levels],
        world)
    if d_image is not None:
        d_scale = torch.einsum('lbd,lbd->l', d_image, image)
        d_image *= scale[:, None, None] * (world.size / world.total)
    if d_text is not None:
        d_text = world.sum_own(d_text).mul_(world.size / world.total)
    losses, d_scale, d_bias = (
        world.sum(torch.stack([losses, d_scale, d_bias])) / world.total)
    return losses, [gradient if needed else None for gradient, needed in zip(
        (d_image, d_text, d_scale, d_bias), wanted, strict=True)]


def _normalize(x: Tensor) -> tuple[Tensor, Tensor]:
    """L2-normalized rows (..., D) and their (..., 1) norms; zeros stay zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(1e-12)
    return x / norm, norm


def _through_norm(gradient: Tensor | None, unit: Tensor, norm: Tensor) -> None:
    """Turn the gradient of normalized rows, in place, into that of the rows before.

    Autograd would keep rows and norms for it, and take twice the memory.
    """
    if gradient is None:
        return
    along = torch.linalg.vecdot(gradient, unit.expand_as(gradient))[..., None]
    gradient.addcmul_(unit, along, value=-1).div_(norm)

"""Compute the losses of mmseg heads and of the score map in less memory."""
from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.utils import resize
from torch import Tensor, nn

from ...registry import MODELS
from .pixel_loss import upsampled_cross_entropy


@MODELS.register_module()
class IdentityHead(BaseDecodeHead):
    """A decode head without parameters: its inputs are the logits.

    It supervises the score map. Source: DenseCLIP (CVPR 2022), section 3.4, the
    auxiliary loss of segmentation.

    Args:
        num_classes: K; the logits have as many channels.
        loss_decode: Config of the loss; by default a softmax cross entropy of weight
            0.4, averaged over all pixels, the ignored ones included.
        kwargs: The other arguments of mmseg's ``BaseDecodeHead``.
    """

    def __init__(self, num_classes: int, loss_decode: dict | None = None, **kwargs):
        # No init_cfg: mmseg's default asks for the conv_seg that this head lacks.
        super().__init__(
            num_classes, num_classes, num_classes=num_classes, dropout_ratio=0,
            loss_decode=loss_decode or dict(
                type='mmseg.CrossEntropyLoss', loss_weight=0.4),
            init_cfg=None, **kwargs)
        self.conv_seg = None

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, K, h, w) logits, as they are."""
        return inputs


def head_loss(head: BaseDecodeHead, inputs: Sequence[Tensor] | Tensor,
              data_samples: Sequence, train_cfg: dict | None = None,
              scores: Tensor | None = None) -> dict[str, Tensor]:
    """Losses of a head, equal to ``head.loss(inputs, data_samples, train_cfg)``.

    A head with mmseg's softmax cross entropy of its upsampled logits uses
    :func:`upsampled_cross_entropy`; any other one (a sampler, class weights, losses of
    its own) runs as it is.

    Args:
        head: A decode head of mmseg.
        inputs: Inputs of its ``forward``.
        data_samples: With ``gt_sem_seg``.
        train_cfg: Of the segmentor.
        scores: (B, K, h, w), added to the logits: :func:`with_scores`.

    Returns:
        The losses by name, weighted, and ``acc_seg``, (1,) in percent.

    Raises:
        ValueError: If there are ``scores`` and the head does not compute its loss from
            logits alone.
    """
    losses = list(head.loss_decode) if isinstance(
        head.loss_decode, nn.ModuleList) else [head.loss_decode]
    if scores is not None and type(head).loss is not BaseDecodeHead.loss:
        raise ValueError(
            f'score_weight adds the score map to the logits, but {type(head).__name__} '
            'does not compute its loss from logits alone; set score_weight=0 or use '
            'a head such as FPNHead or UPerHead.')
    if not (_is_plain_head(head) and all(map(_is_plain_loss, losses))):
        if scores is None:
            return head.loss(inputs, data_samples, train_cfg)
        return head.loss_by_feat(with_scores(head(inputs), scores), data_samples)
    labels = head._stack_batch_gt(data_samples).squeeze(1)
    total = upsampled_cross_entropy(
        with_scores(head(inputs), scores), labels, head.ignore_index)
    counted = (labels != head.ignore_index).sum().clamp(min=1)
    results = dict(acc_seg=(100 * total.correct / counted)[None])
    for loss in losses:
        mean = total.loss / (counted if loss.avg_non_ignore else labels.numel())
        results[loss.loss_name] = (
            results.get(loss.loss_name, 0) + loss.loss_weight * mean)
    return results


def with_scores(logits: Tensor, scores: Tensor | None) -> Tensor:
    """Logits of a head plus an upsampled (B, K, h, w) map; None: as they are."""
    if scores is None:
        return logits
    return logits + resize(scores, logits.shape[2:], mode='bilinear').to(logits)


def _is_plain_head(head: BaseDecodeHead) -> bool:
    kind = type(head)
    return (kind.loss is BaseDecodeHead.loss
            and kind.loss_by_feat is BaseDecodeHead.loss_by_feat
            and head.sampler is None and not head.align_corners
            and head.out_channels > 1)


def _is_plain_loss(loss: nn.Module) -> bool:
    return (type(loss) is CrossEntropyLoss and loss.reduction == 'mean'
            and loss.class_weight is None and not (loss.use_sigmoid or loss.use_mask))

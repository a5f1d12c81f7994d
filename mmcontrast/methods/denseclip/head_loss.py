"""The losses of an mmseg head, in less memory where they are plain cross entropies."""
from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from .pixel_loss import resized_cross_entropy


def head_loss(head: BaseDecodeHead, inputs: Sequence[Tensor] | Tensor,
              data_samples: Sequence, train_cfg: dict | None = None
              ) -> dict[str, Tensor]:
    """``head.loss(inputs, data_samples, train_cfg)``, the same numbers.

    A head that takes mmseg's soft-max cross entropy of its enlarged logits gets it by
    :func:`resized_cross_entropy`; any other one (a sampler, class weights, losses of
    its own) runs as it is.

    Returns:
        The losses by name, weighted, and ``acc_seg``, (1,) in percent.
    """
    losses = list(head.loss_decode) if isinstance(
        head.loss_decode, nn.ModuleList) else [head.loss_decode]
    if not (_is_plain_head(head) and all(map(_is_plain_loss, losses))):
        return head.loss(inputs, data_samples, train_cfg)
    labels = head._stack_batch_gt(data_samples).squeeze(1)
    total = resized_cross_entropy(head(inputs), labels, head.ignore_index)
    counted = (labels != head.ignore_index).sum().clamp(min=1)
    results = dict(acc_seg=(100 * total.correct / counted)[None])
    for loss in losses:
        mean = total.loss / (counted if loss.avg_non_ignore else labels.numel())
        results[loss.loss_name] = (
            results.get(loss.loss_name, 0) + loss.loss_weight * mean)
    return results


def _is_plain_head(head: BaseDecodeHead) -> bool:
    kind = type(head)
    return (kind.loss is BaseDecodeHead.loss
            and kind.loss_by_feat is BaseDecodeHead.loss_by_feat
            and head.sampler is None and not head.align_corners
            and head.out_channels > 1)


def _is_plain_loss(loss: nn.Module) -> bool:
    return (type(loss) is CrossEntropyLoss and loss.reduction == 'mean'
            and loss.class_weight is None and not (loss.use_sigmoid or loss.use_mask))

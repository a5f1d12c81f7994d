"""Turn counts of pixels and boxes into the benchmark numbers, in percent.

Everything works on arrays over all samples. Source of the definitions: the evaluation
code of PropVG (Dai et al., ICCV 2025, arXiv 2509.04833), which follows gRefCOCO (Liu et
al., CVPR 2023), Ref-ZOM (Hu et al., ICCV 2023) and R-RefCOCO (Wu et al., TIP 2024).
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskAreas:
    """Pixels of the predicted and the labeled masks of N samples.

    Attributes:
        shared: (N,) int64, pixels in both.
        predicted: (N,) int64.
        labeled: (N,) int64.
    """

    shared: np.ndarray
    predicted: np.ndarray
    labeled: np.ndarray

    @property
    def union(self) -> np.ndarray:
        return self.predicted + self.labeled - self.shared

    @property
    def iou(self) -> np.ndarray:
        """(N,) in [0, 1]; 0 where both masks are empty."""
        return self.shared / np.maximum(self.union, 1)

    def __getitem__(self, samples: np.ndarray) -> 'MaskAreas':
        return MaskAreas(self.shared[samples], self.predicted[samples],
                         self.labeled[samples])


def percent(part: float, whole: float) -> float:
    """``100 * part / whole``; 0 if there is nothing to divide by."""
    return 100.0 * float(part) / float(whole) if whole else 0.0


def mean_percent(values: np.ndarray) -> float:
    """Mean in percent; 0 without values."""
    return percent(values.sum(), len(values))


def shares_reaching(values: np.ndarray, levels: Sequence[float]) -> list[float]:
    """For each level, the share of the values that reach it, in percent."""
    return [mean_percent(values >= level) for level in levels]


def mask_ious(areas: MaskAreas) -> dict[str, float]:
    """``mIoU``, the mean over samples, and ``oIoU``, of the summed pixels.

    Other papers call the second cIoU or overall IoU.
    """
    return dict(mIoU=mean_percent(areas.iou),
                oIoU=percent(areas.shared.sum(), areas.union.sum()))


def grec_scores(f1: np.ndarray, targeted: np.ndarray, num_kept: np.ndarray,
                f1_thr: float = 1.0) -> dict[str, float]:
    """Scores of generalized referring comprehension.

    Args:
        f1: (N,) F1 of the boxes of each sample; see :func:`sample_f1`.
        targeted: (N,) bool, whether the phrase means at least one object.
        num_kept: (N,) int, predicted boxes that the score threshold left.
        f1_thr: F1 from which a sample counts as right.

    Returns:
        ``F1score``, the share of right samples; ``N_acc``, samples without a target
        and without a box, of all without a target; ``T_acc``, samples with a target
        and a box, of all with a target.
    """
    return dict(F1score=mean_percent(f1 >= f1_thr)) | rejection_scores(
        targeted, num_kept == 0)


def sample_f1(matched: np.ndarray, num_kept: np.ndarray, num_labeled: np.ndarray
              ) -> np.ndarray:
    """(N,) F1 = 2 TP / (2 TP + FP + FN); 1 where there is neither box nor target."""
    boxes = num_kept + num_labeled
    return np.where(boxes == 0, 1.0, 2 * matched / np.maximum(boxes, 1))


def rejection_scores(targeted: np.ndarray, rejected: np.ndarray) -> dict[str, float]:
    """``N_acc`` and ``T_acc``: right decisions without and with a target."""
    return dict(N_acc=mean_percent(rejected[~targeted]),
                T_acc=mean_percent(~rejected[targeted]))


def gres_scores(areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray,
                levels: Sequence[float] = (0.7, 0.8, 0.9)) -> dict[str, float]:
    """Scores of generalized referring segmentation.

    A rejected sample without a target has IoU 1 and adds no pixels. One with a target
    has IoU 0 and adds both masks to the union, as does a sample without a target that
    is not rejected.

    Args:
        areas: Of the masks.
        targeted: (N,) bool, whether the phrase means at least one object.
        rejected: (N,) bool, whether the model says that it means none.
        levels: IoUs of ``Pr@...``, which are over the samples with a target.

    Returns:
        ``gIoU`` (mean IoU), ``cIoU`` (of the summed pixels), ``Pr@0.7`` ..., ``N_acc``
        and ``T_acc``. The last two are 0 if every sample has a target, as in the
        reference.
    """
    counted = targeted & ~rejected
    ious = np.where(counted, areas.iou, ~targeted & rejected)
    shared = areas.shared[counted].sum()
    union = areas.union[targeted | ~rejected].sum()
    decisions = rejection_scores(targeted, rejected)
    if targeted.all():
        decisions = dict.fromkeys(decisions, 0.0)
    precision = shares_reaching(ious[targeted], levels)
    return (dict(gIoU=mean_percent(ious), cIoU=percent(shared, union))
            | {f'Pr@{level}': share
               for level, share in zip(levels, precision, strict=True)} | decisions)


def rrefcoco_scores(areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray,
                    groups: np.ndarray) -> dict[str, float]:
    """Scores of robust referring segmentation.

    A group holds the true and the false sentences about one object. No rejection is
    applied to true sentences. A false one that is not rejected adds its predicted
    pixels to the union that rIoU divides by.

    Args:
        areas: Of the masks; labeled ones of false sentences are empty.
        targeted: (N,) bool, whether the sentence is true.
        rejected: (N,) bool, whether the model says that it means nothing.
        groups: (N,) int64 in [0, G), each with a true and a false sentence.

    Returns:
        Means over groups: ``mIoU``, ``mRR`` (share of false sentences that are
        rejected) and ``rIoU``; and ``oIoU``, of the summed pixels.
    """
    def per_group(values, chosen):
        return np.bincount(groups[chosen], values[chosen], groups.max() + 1)

    ones, fooled = np.ones(len(groups)), ~targeted & ~rejected
    num_true = per_group(ones, targeted)
    shared, union = (per_group(x, targeted) for x in (areas.shared, areas.union))
    false_pixels = per_group(areas.predicted, fooled)
    return dict(
        mIoU=mean_percent(per_group(areas.iou, targeted) / num_true),
        oIoU=percent(shared.sum(), union.sum()),
        mRR=mean_percent(1 - per_group(ones, fooled) / per_group(ones, ~targeted)),
        rIoU=mean_percent(shared / np.maximum(union + false_pixels, 1)))

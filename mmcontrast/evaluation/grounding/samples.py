"""Read predictions and labels of a phrase from a data sample.

A sample is an mmdet ``DetDataSample`` or the dict that mmengine's Evaluator makes of
it. ``gt_instances`` has ``bboxes`` in pixels of the network input and ``referred``;
``pred_instances`` has ``bboxes`` in pixels of the original image and ``scores``.
``gt_mask`` and ``pred_mask`` have the size of the input, ``gt_mask_original`` and
``pred_mask_original`` that of the image. ``pred_exists`` is the model's probability
that the phrase means something, if it predicts one.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserKeyError, UserValueError
from .scores import MaskAreas

RESOLUTIONS = dict(input='', original='_original')

# What to do where masks are missing.
_MASKS = dict(
    input='Load masks: LoadGroundingAnnotations(with_mask=True), and use a model that '
    'predicts them.',
    original='Set keep_original_mask=True in PackGrounding, so that the model predicts '
    "masks of the image's size too.")
_PACK = 'the test pipeline must end with PackGrounding'


def as_mapping(sample: Any) -> Mapping:
    """A data sample as a dict, its parts too."""
    return sample if isinstance(sample, Mapping) else sample.to_dict()


def sample_name(sample: Mapping) -> str:
    """The image and phrase, for messages."""
    image = sample.get('img_path') or f'image {sample.get("img_id", "?")}'
    return f'{image}, phrase {sample.get("text", "")!r}'


def predicted_boxes(sample: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (Q, 4) float64 in pixels of the image and scores (Q,) float32."""
    predicted = _part(sample, 'pred_instances', 'the model must predict them')
    return (_array(predicted['bboxes'], np.float64).reshape(-1, 4),
            _array(predicted['scores'], np.float32))


def labeled_boxes(sample: Mapping) -> np.ndarray:
    """Boxes of the objects that the phrase means: (K, 4) float64, image pixels."""
    labeled = _part(sample, 'gt_instances', _PACK)
    boxes = _array(labeled['bboxes'], np.float64).reshape(-1, 4)
    scale = np.asarray(sample.get('scale_factor', (1, 1)), np.float64)[:2]
    return boxes[_referred(sample)] / np.tile(scale, 2)


def is_targeted(sample: Mapping) -> bool:
    """Whether the phrase means at least one object."""
    return bool(_referred(sample).any())


def top_score(sample: Mapping) -> float:
    """The best score as float32; -inf without boxes."""
    scores = _part(sample, 'pred_instances', 'the model must predict them')['scores']
    return float(_array(scores, np.float32).max(initial=-np.inf))


def existence(sample: Mapping) -> float:
    """The predicted probability that the phrase means something; NaN without one."""
    exists = sample.get('pred_exists')
    return float('nan') if exists is None else float(exists)


def measure_masks(samples: Sequence[Mapping], resolution: str) -> MaskAreas:
    """Count the pixels of predicted and labeled masks, where the masks are.

    Args:
        samples: N of them.
        resolution: ``input`` or ``original``.
    """
    pairs = [_masks(sample, resolution) for sample in samples]
    # One transfer from the device.
    counts = torch.stack([torch.stack([(found & true).sum(), found.sum(), true.sum()])
                          for found, true in pairs]).cpu().numpy()
    return MaskAreas(*counts.T)


def _masks(sample: Mapping, resolution: str) -> tuple[Tensor, Tensor]:
    ending = RESOLUTIONS[resolution]
    masks = []
    for key in (f'pred_mask{ending}', f'gt_mask{ending}'):
        if sample.get(key) is None:
            raise UserKeyError(
                f'{sample_name(sample)}: no {key}, which is scored with '
                f'resolution={resolution!r}. {_MASKS[resolution]}')
        mask = torch.as_tensor(sample[key])
        masks.append(mask.reshape(mask.shape[-2:]).bool())
    found, true = masks
    if found.shape != true.shape:
        raise UserValueError(
            f'{sample_name(sample)}: the predicted mask has {tuple(found.shape)} and '
            f'the labeled one {tuple(true.shape)} rows and columns; expected the same '
            f'for resolution={resolution!r}.')
    return found, true.to(found.device)


def _referred(sample: Mapping) -> np.ndarray:
    """(N,) bool, which of the labeled objects the phrase means."""
    labeled = _part(sample, 'gt_instances', _PACK)
    if 'referred' not in labeled:
        raise UserKeyError(f'{sample_name(sample)}: gt_instances has no referred, only '
                           f'{sorted(labeled)}; {_PACK}.')
    return _array(labeled['referred'], bool)


def _part(sample: Mapping, key: str, remedy: str) -> Mapping:
    if key not in sample:
        raise UserKeyError(f'{sample_name(sample)}: the data sample has no {key}, only '
                           f'{sorted(sample)}; {remedy}.')
    return as_mapping(sample[key])


def _array(values: Any, dtype: type) -> np.ndarray:
    # By way of float: NumPy has no bfloat16.
    tensor = torch.as_tensor(values).detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16)
            else tensor).numpy().astype(dtype)

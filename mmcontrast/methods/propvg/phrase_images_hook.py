"""Draw annotated and predicted phrases during validation and testing."""
from collections.abc import Sequence

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from ...datasets.labeled_images import evenly_spaced
from ...engine.distributed.unwrap import unwrap_model
from ...errors import UserValueError
from ...registry import HOOKS
from ...structures import GroundedPhrase
from ...visualization.grounding import draw_phrases, draw_proposals


@HOOKS.register_module()
class PhraseImagesHook(Hook):
    """Draw a few samples of every validation and test: what is annotated, and found.

    Each sheet goes to the visualizer as ``phrase_3`` (the number of its batch);
    mmengine's local backend writes it to ``vis_data/vis_image`` in the work dir. Rank 0
    draws the first samples of its batches, evenly spread, the same each time. mmdet's
    ``DetVisualizationHook`` shows neither phrase nor mask, and needs image files.

    Args:
        num_images: How many samples.
        score_thr: A proposal with a score above is a box; None for that of the model.
        proposals: Also draw all proposals with their scores, ``proposals_3``.
    """

    priority = 'LOW'

    def __init__(self, num_images: int = 8, score_thr: float | None = None,
                 proposals: bool = False) -> None:
        if num_images < 1:
            raise UserValueError('PhraseImagesHook: num_images must be 1 or more, got '
                                 f'{num_images}.')
        self.num_images, self.score_thr = num_images, score_thr
        self.proposals = proposals

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                       outputs: Sequence[DetDataSample]) -> None:
        self._draw(runner, batch_idx, len(runner.val_dataloader), data_batch, outputs)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[DetDataSample]) -> None:
        self._draw(runner, batch_idx, len(runner.test_dataloader), data_batch, outputs)

    def _draw(self, runner: Runner, batch_idx: int, num_batches: int, data_batch: dict,
              outputs: Sequence[DetDataSample]) -> None:
        if not is_main_process() or batch_idx not in evenly_spaced(
                num_batches, self.num_images):
            return
        sample = outputs[0]
        score_thr = (unwrap_model(runner.model).test_cfg['score_thr']
                     if self.score_thr is None else self.score_thr)
        image = image_of(data_batch['inputs'][0], sample)
        found = predicted(sample, score_thr)
        name = str(sample.get('img_path', f'batch {batch_idx}'))
        runner.visualizer.add_image(f'phrase_{batch_idx}', np.array(draw_phrases(
            image, [annotated(sample), found], name)), step=runner.iter)
        if self.proposals:
            runner.visualizer.add_image(f'proposals_{batch_idx}', np.array(
                draw_proposals(image, [found], name)), step=runner.iter)


def image_of(inputs: Tensor, sample: DetDataSample) -> np.ndarray:
    """(H, W, 3) uint8 RGB, of the original size, of a (3, S, S) BGR input."""
    rgb = inputs.flip(0).permute(1, 2, 0).cpu().numpy()
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(
        sample.ori_shape[1::-1], Image.BICUBIC))


def annotated(sample: DetDataSample) -> GroundedPhrase:
    """What a sample's annotations say, in pixels of the original image."""
    truth = sample.gt_instances
    # Annotated boxes are in pixels of the input.
    scale = np.divide(sample.ori_shape[1::-1], sample.img_shape[1::-1])
    boxes = truth.bboxes[truth.referred].cpu().numpy() * np.tile(scale, 2)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    return GroundedPhrase(
        f'annotated: {sample.text}', bool(len(boxes)), None, boxes,
        np.ones(len(boxes), np.float32), _full_mask(sample, 'gt_mask'), *none)


def predicted(sample: DetDataSample, score_thr: float) -> GroundedPhrase:
    """What was found, in pixels of the original image."""
    boxes = sample.pred_instances.bboxes.cpu().numpy()
    scores = sample.pred_instances.scores.float().cpu().numpy()
    kept = scores.astype(np.float64) > score_thr
    prob = float(sample.pred_exists) if 'pred_exists' in sample else None
    return GroundedPhrase(
        f'predicted: {sample.text}', bool(kept.any()), prob, boxes[kept], scores[kept],
        _full_mask(sample, 'pred_mask') & kept.any(), boxes, scores)


def _full_mask(sample: DetDataSample, key: str) -> np.ndarray:
    """A mask at the original size; empty where a sample has none."""
    mask = sample.get(key)
    if mask is None:
        return np.zeros(sample.ori_shape[:2], bool)
    return np.asarray(Image.fromarray(mask.cpu().numpy()).resize(
        sample.ori_shape[1::-1], Image.NEAREST))

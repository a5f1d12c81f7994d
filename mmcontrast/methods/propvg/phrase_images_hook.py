"""Draw annotated and predicted phrases during validation and testing."""
from collections.abc import Sequence

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.labeled_images import evenly_spaced
from ...engine.distributed.unwrap import unwrap_model
from ...errors import UserValueError
from ...registry import HOOKS
from ...visualization.grounding import draw_phrases, draw_proposals
from ...visualization.grounding_samples import annotated, image_of, predicted


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

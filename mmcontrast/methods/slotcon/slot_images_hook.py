"""Draw the slots of a few images during training."""
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import count
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import ConcatDataset

from ...datasets.image_files import read_image
from ...datasets.labeled_images import evenly_spaced
from ...datasets.transforms.loading import LoadImage
from ...engine.distributed.unwrap import leaf_datasets, unwrap_model
from ...engine.hooks.intervals import IntervalHook
from ...engine.resume.rng_state import preserved_rng
from ...evaluation.features import network_input
from ...registry import HOOKS
from ...visualization.label_maps import draw_label_maps, label_colors
from .evaluation import check_slot_model, slot_labels


@HOOKS.register_module()
class SlotImagesHook(IntervalHook):
    """Draw which slot takes which pixel of a few images, at intervals.

    Each sheet goes to the visualizer as ``slots`` (mmengine's local backend writes it
    to ``vis_data/vis_image`` in the work dir), before training, at every interval and
    at the end. A slot keeps its color for as long as it is in use. Rank 0 draws; a run
    with the hook gives the weights of a run without it.

    Args:
        interval: Epochs (iterations with ``by_epoch=False``) between two sheets,
            or a share of the run, ``'20%'``.
        before_training: Also draw the slots that training starts from.
        images: Image files to draw; training images, evenly spread, if None.
        num_images: How many training images.
        size: Short side in pixels to which the images are resized; larger ones give
            finer maps.
        branch: ``momentum`` (the teacher) or ``online``.
    """

    def __init__(self, interval: int | str = 1, by_epoch: bool = True,
                 before_training: bool = True, images: Sequence[str] | None = None,
                 num_images: int = 4, size: int = 224, branch: str = 'momentum'
                 ) -> None:
        super().__init__(interval, by_epoch, before_training)
        if num_images < 1 or size < 1:
            raise ValueError(
                'SlotImagesHook: num_images and size must be 1 or more, got '
                f'{num_images} and {size}.')
        self.images, self.num_images = images, num_images
        self.size, self.branch = size, branch
        self._pixels: list[tuple[str, Tensor]] | None = None
        self._ranks: dict[int, int] = {}
        self._drawn_at: int | None = None

    def act(self, runner: Runner, step: int) -> None:
        """Draw and hand to the visualizer."""
        self._drawn_at = step
        model = unwrap_model(runner.model)
        check_slot_model(model, 'SlotImagesHook')
        if not is_main_process():
            return
        with preserved_rng():
            if self._pixels is None:
                self._pixels = self._read(runner)
            if not self._pixels:
                return
            sheet = self._draw(model, step)
        runner.visualizer.add_image('slots', sheet, step=step)

    def after_train(self, runner: Runner) -> None:
        if self._drawn_at != runner.iter:
            self.act(runner, step=runner.iter)

    def _draw(self, model: nn.Module, step: int) -> np.ndarray:
        """(H, W, 3) uint8 sheet."""
        maps = [slot_labels(model, image, self.branch) for _, image in self._pixels]
        num_slots = len(model.slot_prototypes(self.branch))
        used = np.bincount(np.concatenate([x.ravel() for x in maps]))
        self._ranks = keep_ranks(self._ranks, used)
        title = (f'after {step} iterations: {len(self._ranks)} of {num_slots} slots in '
                 'these images')
        return np.array(draw_label_maps(
            [image.permute(1, 2, 0).numpy() for _, image in self._pixels], maps,
            [name for name, _ in self._pixels], label_colors(self._ranks, num_slots),
            title=title, called='slot {}'.format))

    def _read(self, runner: Runner) -> list[tuple[str, Tensor]]:
        """Names and (3, H, W) gray levels."""
        if self.images is not None:
            images = [(Path(path).name, read_image(path)) for path in self.images]
        else:
            images = training_images(runner, self.num_images)
        return [(name, network_input(x, self.size)) for name, x in images]


def keep_ranks(ranks: Mapping[int, int], used: np.ndarray) -> dict[int, int]:
    """Ranks, and so colors, of the slots in use.

    A slot keeps the rank it had; the others get the lowest free ones, the most used
    first.

    Args:
        used: Pixels of each slot.
    """
    kept = {slot: rank for slot, rank in ranks.items()
            if slot < len(used) and used[slot]}
    new = [slot for slot in np.argsort(-used, kind='stable').tolist()
           if used[slot] and slot not in kept]
    taken = set(kept.values())
    free = (rank for rank in count() if rank not in taken)
    return kept | dict(zip(new, free, strict=False))


def training_images(runner: Runner, num_images: int) -> list[tuple[str, Image.Image]]:
    """Names of training images, evenly spread over the set, and the whole images.

    None, and a warning, if the set is a stream that nothing can be picked from.
    """
    parts = [copy(part) for part in leaf_datasets(runner.train_dataloader.dataset)]
    other = [type(part).__name__ for part in parts if not isinstance(part, BaseDataset)]
    if other:
        runner.logger.warning(
            f'SlotImagesHook cannot pick images of a {other[0]} and draws none; name '
            'some: images=[...].')
        return []
    for part in parts:
        part.pipeline = Compose([LoadImage()])
    whole = ConcatDataset(parts)
    items = [whole[i] for i in evenly_spaced(len(whole), num_images)]
    return [(Path(item['img_path']).name, item['img']) for item in items]

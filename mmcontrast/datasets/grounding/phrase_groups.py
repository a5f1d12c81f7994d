"""Make batches with several phrases of each image."""
from collections.abc import Iterator, Sequence, Sized

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate

from ...errors import UserValueError
from ...registry import DATA_SAMPLERS, FUNCTIONS


@DATA_SAMPLERS.register_module()
class PhraseGroupSampler(DefaultSampler):
    """Shuffle phrases in groups of one image, for batches that hold whole groups.

    Where the same image comes with several phrases, only reading them tells the targets
    apart. An encoder from random weights learns to read in fewer steps.

    Every phrase comes once an epoch. Those of an image are divided into groups of
    ``group_size`` or fewer, anew in each epoch, and groups are shuffled. Rank r of R
    reads the r-th of R equal parts. Batches of a multiple of ``group_size`` cut a group
    in two where smaller ones came before it.

    Args:
        dataset: :class:`GroundingDataset` or :class:`ShapesGrounding`, with
            ``sentences='each'``.
        group_size: Phrases of an image that stay together.
        shuffle, seed, round_up: See mmengine's ``DefaultSampler``; unshuffled, phrases
            come in the order of the dataset.

    Raises:
        UserValueError: If ``group_size`` is below 1, or the dataset does not tell the
            images of its phrases.
    """

    # Exact resume: between two batches nothing is drawn from the shared generators.
    draws_at_start_only = True

    def __init__(self, dataset: Sized, group_size: int = 4, shuffle: bool = True,
                 seed: int | None = None, round_up: bool = True) -> None:
        super().__init__(dataset, shuffle, seed, round_up)
        if type(group_size) is not int or group_size < 1:
            raise UserValueError(
                f'group_size must be 1 or more phrases, got {group_size!r}.')
        self.group_size = group_size
        self.images = _image_numbers(dataset)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = self._grouped(np.random.default_rng([self.seed, self.epoch]))
        parts = np.array_split(np.resize(order, self.total_size), self.world_size)
        return iter(parts[self.rank].tolist())

    def _grouped(self, rng: np.random.Generator) -> np.ndarray:
        """(N,) indices of all items."""
        order = np.lexsort((rng.random(len(self.images)), self.images))
        counts = np.bincount(self.images)
        place = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
        # A group begins at every group_size-th phrase of an image.
        group = (place % self.group_size == 0).cumsum() - 1
        rank = rng.permutation(group[-1] + 1)
        return order[np.argsort(rank[group], kind='stable')]


@FUNCTIONS.register_module()
def collate_phrases(items: Sequence[dict]) -> dict:
    """mmengine's ``pseudo_collate``, and a note of which samples show the same image.

    :class:`~mmcontrast.methods.propvg.PropVG` embeds the patches of such an image once.
    Samples of one image that were cropped or colored apart do not count as the same.

    Args:
        items: As ``PackGrounding`` gives them. Those with the same pixels as the one
            before get the same ``shared_image`` in their metainfo.
    """
    number = 0
    for i, item in enumerate(items):
        if i and not torch.equal(item['inputs'], items[i - 1]['inputs']):
            number += 1
        item['data_samples'].set_metainfo(dict(shared_image=number))
    return pseudo_collate(items)


def _image_numbers(dataset: Sized) -> np.ndarray:
    """(N,) int64, equal for phrases of one image."""
    if not hasattr(dataset, 'image_ids'):
        raise UserValueError(
            'PhraseGroupSampler needs GroundingDataset or ShapesGrounding, which tell '
            f'the image of each phrase, got {type(dataset).__name__}. For this one: '
            "sampler=dict(type='DefaultSampler', shuffle=True).")
    return np.unique(dataset.image_ids(), return_inverse=True)[1]

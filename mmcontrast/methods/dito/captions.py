"""Draw one caption a sample and reject samples without one."""
from collections.abc import Sequence

import torch
from mmengine.structures import BaseDataElement

from ...errors import UserValueError


def drawn_captions(data_samples: Sequence[BaseDataElement]) -> list[str]:
    """One caption of each sample's ``text``, a string or several to draw one from.

    The draws come from torch's generator on the CPU.

    Raises:
        ValueError: If a sample has no text, or an empty one; with its image.
    """
    return [_drawn(_captions(sample, index))
            for index, sample in enumerate(data_samples)]


def _drawn(captions: Sequence[str]) -> str:
    if len(captions) == 1:
        return captions[0]
    return captions[int(torch.randint(len(captions), ()))]


def _captions(sample: BaseDataElement, index: int) -> Sequence[str]:
    text = sample.get('text')
    captions = text if isinstance(text, (list, tuple)) else [text]
    if captions and all(isinstance(each, str) and each.strip() for each in captions):
        return captions
    where = sample.get('img_path')
    name = f'sample {index} of the batch' + (f' ({where})' if where else '')
    raise UserValueError(
        f'{name} has text={text!r}: expected a caption, or a list of captions, none '
        'of them empty. Remove the pair, or let the dataset skip empty ones.')

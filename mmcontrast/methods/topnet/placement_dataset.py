"""Read backgrounds and objects of annotation files: checks, decoding, a bounded cache.
"""
import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from mmengine.dataset import BaseDataset

from ...datasets.image_files import read_image
from ...datasets.replacing import ReplacesBadImages
from ...errors import UserValueError
from ...registry import TRANSFORMS
from .cutouts import read_cutout

_SHOWN = 5
# Sides of a box beyond so many of the background are no places.
_HUGE = 10


class PlacementDataset(ReplacesBadImages, BaseDataset):
    """Base of the datasets of placement pairs in files.

    A subclass lists its items: ``background_path``, ``object_path``, ``positives`` and
    ``negatives``, lists of boxes (x, y, w, h); where it applies ``mask_path``,
    ``object_size_wh``, ``inpainted`` and what else is packed into a sample. Before the
    pipeline, an item also holds ``background``, ``cutout``, ``background_wh`` and
    ``object_wh``, see :mod:`.transforms`. In training, a pair with a damaged image is
    warned about, listed by ``BadImagesHook``, and replaced by another one.

    Args:
        ann_file: The annotation file, relative to ``data_root``.
        data_root: Folder that its names are relative to.
        positives_only: Leave out items without a positive box. Their loss teaches what
            is implausible alone, and metrics of IoU cannot use them.
        max_bad_share: Largest share of pairs with a damaged image among those tried, in
            [0, 1]; more end the run.
        cache_mb: Megabytes (1e6 bytes) of decoded backgrounds that each worker keeps:
            many items share one. 0 keeps none.
        pipeline: Transforms.
        kwargs: Passed to mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: If the annotation file, or a file that it names, is missing.
        UserValueError: If the annotation file is not valid, or no item is left; later,
            if a box does not fit its background.
        BadImage: With ``test_mode``, if an image cannot be read.
    """

    noun = 'pair'
    #: Whether the whole image of an object is the object, or its tight crop.
    tight = True

    def __init__(self, ann_file: str, data_root: str = '', positives_only: bool = False,
                 max_bad_share: float = 0.1, cache_mb: float = 256,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        if cache_mb < 0:
            raise UserValueError(f'cache_mb must be 0 or more, got {cache_mb}.')
        if not 0 <= max_bad_share <= 1:
            raise UserValueError(
                f'max_bad_share must be in [0, 1], got {max_bad_share}.')
        self.positives_only, self.max_bad_share = positives_only, max_bad_share
        self._read_background = BackgroundCache(cache_mb)
        super().__init__(
            ann_file=os.path.expanduser(ann_file),
            data_root=os.path.expanduser(data_root),
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step
                      for step in pipeline], **kwargs)

    @property
    def source(self) -> str:
        return self.ann_file

    def _name_of(self, info: dict) -> str:
        return f'{info["background_path"]}, {info["object_path"]}'

    def read_items(self) -> list[dict]:
        """All items of the annotation file, with paths below ``data_root``."""
        raise NotImplementedError

    def files_of(self, item: dict) -> Iterable[str]:
        """The files that an item needs."""
        return (item[key] for key in ('background_path', 'object_path', 'mask_path')
                if item.get(key))

    def load_data_list(self) -> list[dict]:
        if not os.path.isfile(self.ann_file):
            raise FileNotFoundError(f'No annotation file at {self.ann_file}.')
        items = self.read_items()
        total = len(items)
        if self.positives_only:
            items = [item for item in items if item['positives']]
        if not items:
            raise UserValueError(
                f'{self.ann_file} has no pair to use: {total} in the file, none of '
                'them with a positive box.' if total else
                f'{self.ann_file} lists no pair. Is it the right file?')
        if not any(item['positives'] or item['negatives'] for item in items):
            raise UserValueError(
                f'{self.ann_file} has no box: the positives and negatives of all '
                f'{total} {self.noun}s are empty. There is nothing to learn or test.')
        check_files((path for item in items for path in self.files_of(item)),
                    self.ann_file, self.data_root)
        return items

    def prepare_data(self, idx: int) -> dict | None:
        return self.pipeline(self.load_item(self.get_data_info(idx)))

    def load_item(self, info: dict) -> dict:
        """An item with its pixels, and its boxes as arrays."""
        background = self._read_background(info['background_path'])
        cutout = read_cutout(info['object_path'], info.get('mask_path'), self.tight)
        boxes = {key: np.array(info[key], np.float64).reshape(-1, 4)
                 for key in ('positives', 'negatives')}
        for key, found in boxes.items():
            self._check_boxes(found, key, info, background.shape[1::-1])
        return dict(info, background=background, cutout=cutout,
                    background_wh=background.shape[1::-1], object_wh=cutout.size_wh,
                    **boxes)


    def _check_boxes(self, boxes_xywh: np.ndarray, key: str, info: dict,
                     size_wh: tuple[int, int]) -> None:
        """Boxes that cannot be meant in pixels of this background are an error."""
        low, sides = boxes_xywh[:, :2], boxes_xywh[:, 2:]
        outside = ((low >= size_wh) | (low + sides <= 0)).any(1)
        tiny, huge = (sides < 1).all(1), (sides > _HUGE * np.array(size_wh)).any(1)
        for wrong, what in ((tiny, 'is smaller than one pixel'),
                            (outside, 'lies outside of the background'),
                            (huge, 'is far larger than the background')):
            if wrong.any():
                raise UserValueError(
                    f'{self.ann_file}: {key}[{wrong.argmax()}] of the {self.noun} '
                    f'{self._name_of(info)}: {boxes_xywh[wrong.argmax()].tolist()} '
                    f'{what}. Boxes are [x, y, width, height] in pixels of the '
                    f'background, which has {size_wh[0]} x {size_wh[1]}.')


class BackgroundCache:
    """Decode backgrounds, and keep as many as fit; those used last stay.

    The arrays are read-only, since many items share them.

    Args:
        max_mb: Megabytes (1e6 bytes) to keep.
    """

    def __init__(self, max_mb: float) -> None:
        self.max_bytes, self.num_bytes = int(max_mb * 1e6), 0
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, path: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB.

        Raises:
            BadImage: If the file is missing, no image, or damaged.
        """
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        image = np.asarray(read_image(path))
        image.setflags(write=False)
        self._kept[path] = image
        self.num_bytes += image.nbytes
        while self.num_bytes > self.max_bytes and self._kept:
            self.num_bytes -= self._kept.popitem(last=False)[1].nbytes
        return image

    def __getstate__(self) -> dict:
        """Workers that are spawned start with an empty cache."""
        return dict(max_bytes=self.max_bytes, num_bytes=0, _kept=OrderedDict())


def check_files(paths: Iterable[str], ann_file: str, data_root: str) -> None:
    """Check that all files exist; every folder is listed once.

    Raises:
        FileNotFoundError: With the number of missing files and the first few of them.
    """
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        folders[folder].add(name)
    missing = []
    for folder, names in folders.items():
        found = set(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else ()
        missing += [os.path.join(folder, name) for name in sorted(names - set(found))]
    if missing:
        total = sum(map(len, folders.values()))
        listed = '\n'.join(f'  {path}' for path in missing[:_SHOWN])
        rest = len(missing) - _SHOWN
        raise FileNotFoundError(
            f'{ann_file} names {len(missing)} files, of {total}, that do not exist:\n'
            f'{listed}{f"{chr(10)}  and {rest} more" if rest > 0 else ""}\n'
            f'Names are relative to data_root={data_root!r}: correct it, or add the '
            'files.')

"""Provide images without annotations, for self-supervised training."""
import os
from collections.abc import Callable, Sequence

from mmengine.dataset import BaseDataset
from mmengine.fileio import exists, join_path

from ..io.text_files import display_name
from ..registry import DATASETS, TRANSFORMS
from .bad_images import ImagesGone
from .image_lists import (
    IMAGE_SUFFIXES,
    list_archive,
    list_folder,
    read_coco_images,
    read_text_list,
)
from .listed_paths import ListedPaths, check_found
from .replacing import ReplacesBadImages
from .storage.addresses import archive_address, archive_scheme


@DATASETS.register_module()
class UnlabeledImages(ReplacesBadImages, BaseDataset):
    """Images of a folder, an ImageNet tree, a zip, an lmdb, a text list or COCO file.

    ``ann_file`` decides: ``*.json`` is read as COCO, any other name as a text list of
    ``path[<TAB>label]`` (see :func:`~.image_lists.read_text_list`); without one, all
    images below ``data_root`` are taken, or all images in it if it is a ``.zip`` or an
    ``.lmdb`` (keys are paths, values encoded files). Lists have a fixed order (folders
    are sorted).

    An image that cannot be decoded in full raises
    :class:`~mmcontrast.datasets.bad_images.BadImage` in the pipeline. Such an image is
    warned about once, counted, and replaced by another random image;
    ``BadImagesHook`` writes the list of them.

    Args:
        data_root: Folder, ``.zip`` archive, or ``.lmdb`` database (folder or file).
        ann_file: List of images, relative to ``data_root`` (to the folder of the
            archive if that is a zip or lmdb).
        data_prefix: ``dict(img_path=...)``, folder of the images below ``data_root``.
        with_label: Whether to read labels: class folders, or numbers in the list.
        suffixes: File name endings that count as images, in any case.
        max_bad_share: Largest share of bad images among those tried, in [0, 1]; more
            end the run. Checked once 20 images, or all, have been tried.
        pipeline: Transforms.
        kwargs: See mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: If the folder, archive or list is missing, or without images,
            or none of the listed files exists; also if it disappears during the run.
        ValueError: If a list cannot be parsed, or too many images are bad.
    """

    def __init__(self, data_root: str = '', ann_file: str = '',
                 data_prefix: dict | None = None, with_label: bool = False,
                 suffixes: Sequence[str] = IMAGE_SUFFIXES, max_bad_share: float = 0.1,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        data_prefix = dict(img_path='') | (data_prefix or {})
        if set(data_prefix) != {'img_path'}:
            raise ValueError(
                f'data_prefix must be dict(img_path=...), got {data_prefix}.')
        if not 0 <= max_bad_share <= 1:
            raise ValueError(f'max_bad_share must be in [0, 1], got {max_bad_share}.')
        if with_label and _is_json(ann_file):
            raise ValueError(
                f'with_label=True has no meaning for the COCO file {ann_file}: its '
                'images carry no class. Use a folder of classes or a text list.')
        self.with_label = with_label
        self.suffixes = tuple(suffixes)
        self.max_bad_share = max_bad_share
        data_root = os.path.expanduser(data_root)
        super().__init__(
            ann_file=os.path.expanduser(ann_file),
            # An lmdb is often a folder, and those are often written with a slash.
            data_root=data_root.rstrip('/') or data_root, data_prefix=data_prefix,
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step
                      for step in pipeline], **kwargs)

    @property
    def archive(self) -> str | None:
        """'zip' or 'lmdb' if ``data_root`` is an archive; None for a folder."""
        return archive_scheme(self.data_root)

    @property
    def source(self) -> str:
        """Where the images come from, for messages."""
        return self.ann_file or self.data_root or self.data_prefix['img_path']

    def _join_prefix(self) -> None:
        if not self.archive:
            super()._join_prefix()
            if self.data_root and self.data_prefix['img_path'] != '/':
                prefix = self.data_prefix['img_path'].rstrip('/')
                self.data_prefix['img_path'] = prefix
            return
        # A list lies beside the archive, the prefix is a path inside of it.
        if self.ann_file and not _is_absolute(self.ann_file):
            folder, slash, _ = self.data_root.rpartition('/')
            self.ann_file = f'{folder}{slash}{self.ann_file}'

    def load_data_list(self) -> list[dict]:
        if self.ann_file:
            locate = ListedPaths(self._locate, self._exists)
            images = (read_coco_images(self.ann_file, locate)
                      if _is_json(self.ann_file) else
                      read_text_list(self.ann_file, locate, self.with_label,
                                     self._exists))
            check_found([image['img_path'] for image in images], self.ann_file,
                        self._exists)
            return images
        prefix, options = self.data_prefix['img_path'], (self.suffixes, self.with_label)
        if self.archive:
            images, classes = list_archive(self.data_root, prefix, *options)
        else:
            images, classes = list_folder(prefix, *options)
        if classes:
            self._metainfo.setdefault('classes', tuple(classes))
        return images

    def _locate(self, path: str) -> str:
        prefix = self.data_prefix['img_path']
        if self.archive:
            path = path.lstrip('/')
            return archive_address(
                self.data_root, join_path(prefix, path) if prefix else path)
        if _is_absolute(path) or not prefix:
            return path
        # join_path looks for the backend of every path: several times slower.
        join = join_path if '://' in prefix else os.path.join
        return join(prefix, path)

    def _exists(self, path: str) -> bool:
        """Whether there is a file, or a link without a target, at a full path."""
        if self.archive and path.startswith(f'{self.archive}://'):
            return exists(path)
        # A server is not asked: it may be slow.
        return '://' in path or os.path.lexists(path)

    def _check_still_there(self, path: str, missing: int) -> None:
        """Raise an error if the whole folder or archive is gone, not one image."""
        root = self.data_root if self.archive else self.data_prefix['img_path']
        root = root or os.path.dirname(path)
        empty = os.path.isdir(root) and not any(os.scandir(root))
        gone = '://' not in root and not os.path.exists(root)
        if gone or empty:
            raise ImagesGone(
                f'{root}, which the images are read from, is now '
                f'{"empty" if empty else "gone"}: {display_name(path)} was not found. '
                'Put it back (is its disk mounted?).')
        super()._check_still_there(path, missing)


def _is_json(path: str) -> bool:
    return path.lower().endswith('.json')


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path) or '://' in path

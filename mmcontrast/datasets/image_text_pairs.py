"""Provide image-text pairs that are listed in a table or JSON file."""
import logging
import os
from collections.abc import Callable, Sequence

from mmengine.logging import print_log

from ..io.text_files import split_lines
from ..registry import DATASETS
from .bad_images import Reason
from .captions.entries import CaptionList, collect
from .captions.json_files import karpathy_splits, read_json
from .captions.tables import (
    Column,
    is_tab_separated,
    read_captions,
    read_table,
)
from .images import UnlabeledImages
from .listed_paths import ListedPaths, check_found

FORMATS = ('auto', 'csv', 'tsv', 'coco', 'karpathy', 'list')
_TABLES = {'.csv': 'csv', '.tsv': 'tsv', '.txt': 'tsv'}
# Fewer pairs do not tell the share of bad ones.
_MIN_PAIRS = 20


@DATASETS.register_module()
class ImageTextPairs(UnlabeledImages):
    """Images with captions from a CSV, TSV, COCO captions, Karpathy or list file.

    An item holds ``img_path`` and ``texts``, all captions of the image: rows and
    annotations of one image are one item, so that no batch takes an image for the
    negative of its own caption. ``ChooseText`` draws one of them in every epoch. Images
    lie in a folder, ``.zip`` or ``.lmdb``, as with :class:`UnlabeledImages`.

    Pairs without a usable caption are left out at the start, with a warning that counts
    them; images that cannot be decoded are replaced. ``BadImagesHook`` lists both.
    Files are data: nothing in them is executed, and no URL is opened.

    Args:
        ann_file: File of the pairs, relative to ``data_root`` (to the folder of the
            archive if that is a zip or lmdb).
        format: 'csv', 'tsv' (tables), 'coco' (captions), 'karpathy' (the splits of
            Flickr and COCO), 'list' (``[{image, caption}]``), or 'auto': tables by
            the suffixes ``.csv`` (separated by tabs if its first line holds one),
            ``.tsv`` and ``.txt``, JSON by its content.
        data_root: Folder, ``.zip`` archive, or ``.lmdb`` database.
        data_prefix: ``dict(img_path=...)``, folder of the images below ``data_root``.
        image_column, caption_column, quoted: Of tables, see
            :func:`~mmcontrast.datasets.captions.tables.read_table`. By default a
            ``.csv`` is quoted and a ``.tsv`` is not.
        encoding: Of the file; by default what its byte order mark says, else UTF-8.
        split: Part or parts of a Karpathy split; None takes all.
        local_files: Text file of ``URL<TAB>PATH`` lines beside ``ann_file``, for tables
            of URLs whose images were downloaded.
        max_bad_share: Largest share of bad pairs in the file, and of bad images among
            those tried, in [0, 1]; more end the run.
        pipeline: Transforms.
        kwargs: See mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: If the file, folder or archive is missing.
        ValueError: If the file has another layout, names URLs, or too many (or all) of
            its pairs are bad; names the first of them.
    """

    noun = 'pair'

    def __init__(self, ann_file: str, format: str = 'auto', data_root: str = '',
                 data_prefix: dict | None = None, image_column: Column = None,
                 caption_column: Column = None, quoted: bool | None = None,
                 encoding: str | None = None,
                 split: str | Sequence[str] | None = None, local_files: str = '',
                 max_bad_share: float = 0.1,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        if format not in FORMATS:
            raise ValueError(f'format must be one of {list(FORMATS)}, got {format!r}.')
        if 'with_label' in kwargs or 'suffixes' in kwargs:
            raise ValueError('ImageTextPairs takes no with_label and no suffixes: the '
                             'images are those that ann_file names.')
        if not ann_file:
            raise ValueError('ImageTextPairs needs ann_file, the file of the captions; '
                             'tar shards are read by ShardedPairs.')
        self.format = format
        self.table_options = dict(
            image_column=image_column, caption_column=caption_column, quoted=quoted)
        self.encoding = encoding
        self.split = (split,) if isinstance(split, str) else tuple(split or ())
        self.local_files = os.path.expanduser(local_files)
        self.skipped: list[tuple[str, Reason]] = []
        super().__init__(data_root, ann_file, data_prefix,
                         max_bad_share=max_bad_share, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        found = collect(self._entries(), self.ann_file,
                        ListedPaths(self._locate, self._exists),
                        self._read_local_files())
        self._check_pairs(found)
        check_found([image['img_path'] for image in found.images], self.ann_file,
                    self._exists)
        self.skipped = found.skipped
        return found.images

    def bad_images(self) -> list[tuple[str, Reason]]:
        """Pairs skipped at the start, and images found bad so far, by all loaders."""
        return [*self.skipped, *super().bad_images()]

    def splits(self) -> list[str]:
        """Parts that a Karpathy split holds, read or not; none for other files."""
        return [] if self._kind() in ('csv', 'tsv') else karpathy_splits(
            self.ann_file, self.encoding)

    def _kind(self) -> str:
        """``format``, of 'auto' what the suffix says."""
        ending = os.path.splitext(self.ann_file)[1].lower()
        return self.format if self.format != 'auto' else _TABLES.get(ending, 'auto')

    def _entries(self):
        kind = self._kind()
        if kind not in ('csv', 'tsv'):
            self._reject_table_options(kind)
            return read_json(self.ann_file, kind, self.split, self.encoding)
        if self.split:
            raise ValueError(f'split={list(self.split)} selects from a Karpathy split; '
                             f'{self.ann_file} is a table. Leave split out.')
        options = dict(self.table_options)
        if options['quoted'] is None:
            options['quoted'] = kind == 'csv'
        tabs = kind == 'tsv' or (
            self.format == 'auto' and is_tab_separated(self.ann_file, self.encoding))
        return read_table(self.ann_file, '\t' if tabs else ',',
                          encoding=self.encoding, **options)

    def _reject_table_options(self, kind: str) -> None:
        given = [name for name, value in self.table_options.items()
                 if value is not None]
        if given:
            raise ValueError(f'{given[0]} is for tables; {self.ann_file} is read as '
                             f"JSON (format={kind!r}). Set format='csv' or 'tsv', or "
                             f'leave {given[0]} out.')

    def _read_local_files(self) -> dict[str, str] | None:
        if not self.local_files:
            return None
        path = os.path.join(os.path.dirname(self.ann_file), self.local_files)
        lines = split_lines(read_captions(path, self.encoding))
        pairs = [line.partition('\t') for line in lines if line.strip()]
        broken = next((url for url, tab, file in pairs if not file.strip()), None)
        if broken is not None:
            raise ValueError(f'{path}: expected URL<TAB>PATH in every line, got '
                             f'{broken[:80]!r}.')
        return {url.strip(): file.strip() for url, _, file in pairs}

    def _check_pairs(self, found: CaptionList) -> None:
        """Warn about skipped pairs; raise an error if they are too many."""
        num_bad, total = len(found.skipped), found.num_pairs
        if not total:
            raise ValueError(f'{self.ann_file} holds no image-text pair.')
        if not num_bad:
            return
        first = '\n'.join(
            f'  {name}: {reason.sentence}' for name, reason in found.skipped[:5])
        counted = (f'{num_bad} of the {total} image-text pairs of {self.ann_file} '
                   f'({num_bad / total:.0%})')
        if not found.images or (
                total >= _MIN_PAIRS and num_bad > self.max_bad_share * total):
            raise ValueError(
                f'{counted} cannot be used, max_bad_share={self.max_bad_share} allows '
                f'{self.max_bad_share:.0%}. The first of them:\n{first}\nRepair or '
                'remove them, or raise max_bad_share of the dataset.')
        print_log(f'{counted} are skipped. The first of them:\n{first}',
                  logger='current', level=logging.WARNING)

"""Pack images or image-text pairs into tar shards or an lmdb database."""
import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...datasets import BadImage, ImageTextPairs, Reason, UnlabeledImages
from ...datasets.image_files import read_bytes
from ...datasets.image_lists import IMAGE_SUFFIXES
from ...datasets.storage.lmdb_backend import import_lmdb
from ...datasets.storage.tar_index import read_table
from ...io.atomic import atomic_folder
from ...progress import progress_bar

# Address space, not disk: an lmdb grows up to this.
_LMDB_LIMIT = 1 << 42
_LMDB_LONGEST_KEY = 511
_IMAGES_PER_COMMIT = 256
_CAPTION_OPTIONS = ('split', 'format', 'image_column', 'caption_column', 'local_files',
                    'encoding', 'max_bad_share')


@dataclass(frozen=True)
class Packed:
    """Result of :func:`make_shards`.

    Attributes:
        out: Folder of the shards, or the database.
        num_images: Images in it.
        num_shards: Tar files; 0 for an lmdb.
        skipped: Pairs without a usable caption, then source files that are missing,
            empty or cannot be read.
        with_captions: Whether the shards hold image-text pairs.
    """

    out: Path
    num_images: int
    num_shards: int
    skipped: tuple[BadImage, ...] = ()
    with_captions: bool = False

    @property
    def config(self) -> str:
        """Config lines that read it, for below the ``_base_`` of a config."""
        if not self.num_shards:
            return f"""train_dataloader = dict(dataset=dict(
    data_root={str(self.out)!r}, data_prefix=dict(img_path='')))"""
        kind = 'ShardedPairs' if self.with_captions else 'ShardedImages'
        return f"""train_dataloader = dict(
    sampler=dict(type='ShardSampler'),
    dataset=dict(
        _delete_=True, type={kind!r}, shards={str(self.out / '*.tar')!r},
        pipeline=_base_.train_dataloader.dataset.pipeline))"""


def make_shards(source: str, out: str | Path, to: str = 'tar', ann_file: str = '',
                prefix: str = '', with_label: bool = False, shard_mb: float = 256,
                shuffle: bool = True, seed: int = 0, progress: bool = True,
                with_captions: bool = False, **caption_options) -> Packed:
    """Copy the image files of a folder, zip, lmdb or list, unchanged, into few files.

    The result is atomic: written next to ``out`` under another name and renamed at the
    end. Images keep their paths as names of members or keys; in shards, dots in file
    names become ``_``, because the first dot ends the name of a sample.

    Args:
        source: ``data_root`` of :class:`~mmcontrast.datasets.UnlabeledImages`.
        out: New folder of ``NAME-000000.tar`` ...; for an lmdb a name in ``.lmdb``.
        to: 'tar' or 'lmdb'.
        ann_file, prefix: List of the images, and their folder below ``source``.
        with_label: Also write labels, as ``.cls`` members.
        shard_mb: A shard is closed once it holds this many megabytes (1e6 bytes).
        shuffle: Write shards in random order, so that each is a sample of the whole.
            An lmdb is in the order of its keys.
        seed: Of that order.
        progress: Show a progress bar.
        with_captions: Take ``ann_file`` for a file of captions, as
            :class:`~mmcontrast.datasets.ImageTextPairs` reads it, and write them
            as ``.json`` members; a single caption also as ``.txt``.
        caption_options: ``split``, ``format``, ``image_column``, ``caption_column``,
            ``local_files``, ``encoding`` and ``max_bad_share`` of
            :class:`~mmcontrast.datasets.ImageTextPairs`. A Karpathy file with several
            splits needs ``split``, one or a list of them.

    Raises:
        FileExistsError: If ``out`` exists.
        FileNotFoundError: If the source is missing or without images.
        ValueError: If an argument is out of range, no image can be read, or ``split``
            is missing.
    """
    out = Path(out).expanduser()
    _check(out, to, shard_mb, with_label, with_captions)
    _check_caption_options(caption_options, with_captions)
    place = dict(data_root=source, ann_file=ann_file, data_prefix=dict(img_path=prefix))
    images = _pairs(place, caption_options) if with_captions else (
        UnlabeledImages(**place, with_label=with_label))
    order = list(range(len(images)))
    if shuffle and to == 'tar':
        random.Random(seed).shuffle(order)
    skipped = []
    with atomic_folder(out) as folder, progress_bar(progress) as bar:
        items = _read(images, bar.track(order, description=f'to {to}'), skipped)
        if to == 'lmdb':
            num_images, num_shards = _write_lmdb(folder, items), 0
        else:
            num_images, num_shards = _write_tars(folder, out.name, items, shard_mb)
        if not num_images:
            raise ValueError(f'None of the {len(images)} images of {source} can be '
                             f'read; the first: {skipped[0]}.')
    without_text = (BadImage(*pair) for pair in getattr(images, 'skipped', ()))
    return Packed(out, num_images, num_shards, (*without_text, *skipped), with_captions)


def _check(out: Path, to: str, shard_mb: float, with_label: bool,
           with_captions: bool) -> None:
    if to not in ('tar', 'lmdb'):
        raise ValueError(f"to must be 'tar' or 'lmdb', got {to!r}.")
    if out.exists():
        raise FileExistsError(
            f'{out} exists; nothing is overwritten. Remove it or give another name.')
    if (out.suffix == '.lmdb') != (to == 'lmdb'):
        raise ValueError(f"The name of an lmdb, and of nothing else, ends in '.lmdb'; "
                         f"got {out} with to={to!r}.")
    if to == 'lmdb' and with_label:
        raise ValueError('An lmdb keeps no labels: with_label=True of the dataset '
                         'takes them from the class folders in its keys.')
    if with_captions and (to == 'lmdb' or with_label):
        raise ValueError('Captions are packed into tar shards, without labels. Leave '
                         "to='lmdb' and with_label out.")
    if shard_mb <= 0:
        raise ValueError(f'shard_mb must be more than 0, got {shard_mb}.')


def _check_caption_options(options: dict, with_captions: bool) -> None:
    unknown = [key for key in options if key not in _CAPTION_OPTIONS]
    if unknown:
        raise TypeError(f'make_shards has no argument {unknown[0]!r}.')
    if options and not with_captions:
        raise ValueError(f'{next(iter(options))} is for files of captions: set '
                         '--captions (with_captions=True), or leave it out.')


def _pairs(place: dict, options: dict) -> ImageTextPairs:
    pairs = ImageTextPairs(**place, **options)
    if not pairs.split:
        splits = pairs.splits()
        if len(splits) > 1:
            raise ValueError(
                f'{pairs.ann_file} holds the splits {", ".join(splits)}, which do not '
                'belong into the same shards. Name those to pack: --split train '
                "(split='train').")
    return pairs


def _read(images: UnlabeledImages, order: Iterable[int], skipped: list[BadImage]
          ) -> Iterator[tuple[str, bytes, dict[str, bytes]]]:
    """(path below the source, encoded file, further members by their ending)."""
    root = images.data_prefix['img_path'].rstrip('/')
    for idx in order:
        info = images.get_data_info(idx)
        path = info['img_path']
        try:
            data = read_bytes(path)
            if not data:
                raise BadImage(path, Reason.EMPTY)
        except BadImage as bad:
            skipped.append(bad)
            continue
        if images.archive:
            path = path.partition('@/')[2]
        elif root and path.startswith(f'{root}/'):
            path = path.removeprefix(f'{root}/')
        yield path.rpartition('://')[2].lstrip('/'), data, _members(info)


def _members(info: dict) -> dict[str, bytes]:
    """Label and captions of an image as members of a shard, by their ending."""
    members = {}
    if 'label' in info:
        members['cls'] = str(info['label']).encode()
    if 'texts' in info:
        members['json'] = json.dumps(dict(caption=info['texts'])).encode()
        if len(info['texts']) == 1:
            members['txt'] = info['texts'][0].encode()
    return members


def _write_lmdb(folder: Path, items: Iterable) -> int:
    lmdb = import_lmdb()
    count = 0
    with lmdb.open(str(folder), map_size=_LMDB_LIMIT) as database:
        write = database.begin(write=True)
        for count, (path, data, _) in enumerate(items, start=1):
            key = os.fsencode(path)
            if len(key) > _LMDB_LONGEST_KEY:
                raise ValueError(f'lmdb keys have at most {_LMDB_LONGEST_KEY} bytes; '
                                 f'{path} has {len(key)}. Pack into tar shards.')
            write.put(key, data)
            if count % _IMAGES_PER_COMMIT == 0:
                write.commit()
                write = database.begin(write=True)
        write.commit()
    (folder / 'lock.mdb').unlink(missing_ok=True)
    return count


def _write_tars(folder: Path, name: str, items: Iterable, shard_mb: float
                ) -> tuple[int, int]:
    new_name = _sample_names()
    pattern = str(folder).replace('%', '%%') + f'/{name.replace("%", "%%")}-%06d.tar'
    with _import_shard_writer()(
            pattern, maxcount=sys.maxsize, maxsize=shard_mb * 1e6, verbose=0,
            encoder=False, mtime=0) as writer:
        for path, data, members in items:
            sample, ending = new_name(path)
            writer.write({'__key__': sample, ending: data} | members)
    shards = sorted(map(str, folder.glob('*.tar')))
    if writer.total:
        # Read what was written, and leave the table for the training.
        assert len(read_table(shards, IMAGE_SUFFIXES, progress=False)) == writer.total
    return writer.total, len(shards)


def _sample_names() -> Callable[[str], tuple[str, str]]:
    taken = set()

    def new_name(path: str) -> tuple[str, str]:
        """Unique name of the sample, and suffix of the image."""
        stem, ending = os.path.splitext(path)
        if ending.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f'{path} has no suffix of an image '
                             f'({" ".join(IMAGE_SUFFIXES)}); rename it.')
        folder, slash, file = stem.rpartition('/')
        plain = name = f'{folder}{slash}{file.replace(".", "_")}'
        number = 1
        while name in taken:  # a.jpg and a.png
            number += 1
            name = f'{plain}_{number}'
        taken.add(name)
        return name, ending.lower().removeprefix('.')

    return new_name


def _import_shard_writer():
    try:
        from webdataset import ShardWriter
    except ImportError:
        raise ImportError('Writing tar shards needs the library webdataset: '
                          'pip install webdataset') from None
    return ShardWriter

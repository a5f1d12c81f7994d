"""Split annotation files into base and novel classes."""
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...datasets.coco_annotations import (
    add_areas,
    add_file_names,
    fit_boxes,
    read_annotations,
)
from ...datasets.open_vocabulary import (
    OV_COCO_BASE,
    OV_COCO_NOVEL,
    check_split,
    class_ids,
    plain_name,
)
from ...errors import UserValueError, did_you_mean
from ...io.atomic import write_text
from ...models.text.vocabulary import class_lines, class_list
from ...progress import progress_bar

#: Endings of the names of the files for training and for evaluation.
ENDINGS = dict(coco=('_seen_2_65_cat', '_all_2'), lvis=('_norare', '_all'),
               own=('_base', '_all'))
_DATASET = """\
{kind}_dataloader = dict(dataset=dict(
    _delete_=True, type='mmcontrast.OpenVocabularyDataset',
    ann_file={file!r},
    data_prefix=dict(img={images!r}),{note}
    metainfo=dict(
        {classes}),
    pipeline=_base_.{pipeline}, {rest}))"""
_TEST = """\
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='mmcontrast.GroupedCocoMetric',
    ann_file={!r})
test_evaluator = val_evaluator"""
_MODEL = """\
model = dict(
    class_names={base!r},
    test_class_names={all!r})"""


@dataclass(frozen=True)
class Classes:
    """The classes of a split, underscores as spaces.

    Attributes:
        all: In the order of the training file.
        base, novel: Its two parts, in the same order.
    """

    all: tuple[str, ...]
    base: tuple[str, ...]
    novel: tuple[str, ...]


@dataclass(frozen=True)
class SplitFile:
    """One annotation file that :func:`make_ov_split` wrote.

    Attributes:
        path: The file.
        num_images: Images in it.
        images_left_out: Images without a box of the classes of this file.
        num_base, num_novel: Boxes of base and of novel classes.
        boxes_left_out: Boxes of other classes.
        without_boxes: Classes of this file that have no box.
        clipped, dropped: Ids of the images of boxes that reached out of the image, and
            of boxes without area in it; one per box.
        image_folder: Folder that its images are in; None if it was not found.
    """

    path: Path
    num_images: int
    images_left_out: int
    num_base: int
    num_novel: int
    boxes_left_out: int
    without_boxes: tuple[str, ...] = ()
    clipped: tuple = ()
    dropped: tuple = ()
    image_folder: str | None = None


@dataclass(frozen=True)
class Split:
    """Result of :func:`make_ov_split`.

    Attributes:
        classes: Their names.
        files: The file for training and, if there is one, that for evaluation.
        vocabularies: Text files of ``all``, ``base`` and ``novel`` names, one per line.
    """

    classes: Classes
    files: tuple[SplitFile, ...]
    vocabularies: dict[str, Path]

    @property
    def config(self) -> str:
        """Config lines for below the ``_base_`` of a detector's config.

        They replace its datasets, metrics and classes. Without a file for evaluation,
        data and metrics of validation and test stay those of ``_base_``.
        """
        paths = {kind: str(path) for kind, path in self.vocabularies.items()}
        train, *tests = self.files
        lines = [_dataset('train', train, dict(classes=paths['base']), 'train_pipeline',
                          'filter_cfg=dict(filter_empty_gt=True)')]
        for file in tests:
            groups = dict(classes=paths['all'], base_classes=paths['base'],
                          novel_classes=paths['novel'])
            lines += [_dataset('val', file, groups, 'test_pipeline', 'test_mode=True'),
                      _TEST.format(str(file.path))]
        return '\n'.join([*lines, _MODEL.format(**paths)])


def _dataset(kind: str, file: SplitFile, classes: dict[str, str], pipeline: str,
             rest: str) -> str:
    """Config lines of a dataset; ``rest`` are its further arguments."""
    return _DATASET.format(
        kind=kind, file=str(file.path), pipeline=pipeline, rest=rest,
        images=file.image_folder or 'FOLDER_OF_THE_IMAGES/',
        note='' if file.image_folder else '  # edit: images were not found',
        classes=',\n        '.join(f'{key}={path!r}' for key, path in classes.items()))


def make_ov_split(train: str | Path, val: str | Path | None = None,
                  benchmark: str | None = None,
                  base: str | Sequence[str] | None = None,
                  novel: str | Sequence[str] | None = None,
                  out: str | Path | None = None, keep_empty: bool = False,
                  drop_others: bool = False, overwrite: bool = False,
                  progress: bool = True) -> Split:
    """Write a training file with boxes of base classes only, and one with all to test.

    Categories keep ids and order. The files of benchmarks keep their boxes as they
    are. In own files, boxes are clipped to the image, those without area dropped, and
    ``area`` and ``iscrowd`` added where missing, which mmdet reads.

    Args:
        train: COCO-style file of the training images.
        val: The same of the evaluation images.
        benchmark: 'coco': 48 base and 17 novel classes, images without any of them
            left out, as in the official zero-shot files. 'lvis': annotations of rare
            categories removed, categories and images kept. None: own classes.
        base, novel: Own classes: a list, ``'cat;dog'`` or a text file, one per line.
            One of the two is enough: the other becomes the rest.
        out: Folder of the new files. Default: that of ``train``; for 'coco' the
            folder ``zero-shot`` beside it.
        keep_empty: Keep images without boxes. In the training file, the objects whose
            novel boxes were removed are trained as background; configs with
            ``filter_empty_gt`` drop such images again.
        drop_others: Leave out boxes of classes that are neither base nor novel; else
            they are an error.
        overwrite: Replace files of an earlier call.
        progress: Show a progress bar.

    Raises:
        FileNotFoundError: If an annotation file does not exist.
        FileExistsError: If a file to write exists, without ``overwrite``.
        UserValueError: If an annotation file is not valid, a class is unknown, base
            and novel overlap, one of them is empty, boxes have a class that is in
            neither list, a file has no box to train on or to test with, or a name
            would not read back from a class list.
    """
    _check(benchmark, base, novel, val)
    sources = [Path(path).expanduser() for path in (train, val) if path is not None]
    out = _folder(sources[0], benchmark) if out is None else Path(out).expanduser()
    targets = [out / f'{source.stem}{ending}.json' for source, ending in zip(
        sources, ENDINGS[benchmark or 'own'], strict=False)]
    vocabularies = {kind: out / f'{sources[0].stem}_{kind}_classes.txt'
                    for kind in ('all', 'base', 'novel')}
    for path in (*targets, *vocabularies.values()):
        if path.exists() and not overwrite:
            raise FileExistsError(f'{path} exists; remove it, give another --out, or '
                                  '--overwrite (overwrite=True) to replace it.')
    made, classes = [], None
    with progress_bar(progress) as bar:
        for source, target in bar.track(list(zip(sources, targets, strict=True)),
                                        description='split'):
            data = read_annotations(source)
            if classes is None:
                classes = _classes(data['categories'], benchmark, base, novel,
                                   source.name)
            data, file = _split(data, classes, target, source.name, not made,
                                keep_empty, drop_others, benchmark)
            made.append((data, replace(file, image_folder=_image_folder(
                source, data['images']))))
    lists = {kind: class_lines(getattr(classes, kind), sources[0].name)
             for kind in vocabularies}
    # Only now, so that an error in one file leaves nothing of the other.
    for data, file in made:
        write_text(file.path, json.dumps(data))
    for kind, path in vocabularies.items():
        write_text(path, lists[kind])
    return Split(classes, tuple(file for _, file in made), vocabularies)


def _check(benchmark: str | None, base: object, novel: object, val: object) -> None:
    if benchmark not in (None, 'coco', 'lvis'):
        raise UserValueError(f"benchmark must be 'coco' or 'lvis', got {benchmark!r}.")
    if benchmark and (base is not None or novel is not None):
        raise UserValueError(f'The classes of {benchmark} are fixed; leave base and '
                             'novel out, or leave benchmark out.')
    if not benchmark and base is None and novel is None:
        raise UserValueError("Name the base classes, the novel ones or both: base='cat;"
                             "dog', or the benchmark.")
    if benchmark == 'lvis' and val is not None:
        raise UserValueError('LVIS is evaluated on its own val file, with all '
                             'categories; leave val out.')


def _folder(train: Path, benchmark: str | None) -> Path:
    return (train.parent.parent / 'zero-shot' if benchmark == 'coco'
            else train.parent)


def _classes(categories: list[dict], benchmark: str | None, base, novel, place: str
             ) -> Classes:
    known = [plain_name(category['name']) for category in categories]
    if benchmark == 'lvis':
        rare = {plain_name(c['name']): c.get('frequency') == 'r' for c in categories}
        if not any(rare.values()):
            raise UserValueError(f"{place}: no category has frequency 'r'. The LVIS "
                                 'v1 training file is needed.')
        named = {kind: [name for name in known if rare[name] == (kind == 'novel')]
                 for kind in ('base', 'novel')}
        return _checked(known, named, place)
    if benchmark == 'coco':
        base, novel = OV_COCO_BASE, OV_COCO_NOVEL
    named = {kind: [plain_name(name) for name in class_list(given)]
             for kind, given in (('base', base), ('novel', novel)) if given is not None}
    for kind, names in named.items():
        for name in names:
            if name not in known:
                raise UserValueError(f'{place} has no category {name!r}, a {kind} class'
                                     f'{did_you_mean(name, known)}')
    check_split(named.get('base', ()), named.get('novel', ()))
    for kind, other in (('base', 'novel'), ('novel', 'base')):
        if kind not in named:
            named[kind] = [name for name in known if name not in named[other]]
    return _checked(known, named, place)


def _checked(known: list[str], named: dict[str, list[str]], place: str) -> Classes:
    """Both parts in the order of the file, after a check that there are two."""
    parts = {}
    for kind, other in (('base', 'novel'), ('novel', 'base')):
        parts[kind] = tuple(name for name in known if name in set(named[kind]))
        if not parts[kind]:
            raise UserValueError(
                f'No {kind} class is left: all {len(known)} categories of {place} are '
                f'{other} classes. Leave at least one out of them.')
    return Classes(tuple(name for name in known if name in {
        *parts['base'], *parts['novel']}), **parts)


def _split(data: dict, classes: Classes, target: Path, place: str, training: bool,
           keep_empty: bool, drop_others: bool, benchmark: str | None
           ) -> tuple[dict, SplitFile]:
    """The content of a new file, and what there is to say about it."""
    class_ids(classes.all, data['categories'], place)
    wanted = set(classes.all)
    shown = classes.base if training else classes.all
    names = {c['id']: plain_name(c['name']) for c in data['categories']}
    clipped = dropped = ()
    annotations = data['annotations']
    if benchmark is None:
        annotations, clipped, dropped = _fitted(data)
    counts = Counter(names[a['category_id']] for a in annotations)
    others = {name: count for name, count in counts.items() if name not in wanted}
    if others and not drop_others and benchmark is None:
        raise UserValueError(
            f'{place} has boxes of classes that are neither base nor novel: '
            f'{", ".join(f"{name} ({count})" for name, count in others.items())}. Add '
            'each to one of the lists, or leave them out with --drop-others '
            '(drop_others=True).')
    ids = {number for number, name in names.items() if name in shown}
    annotations = [a for a in annotations if a['category_id'] in ids]
    if not annotations:
        kind, use = ('base', 'train on') if training else ('base or novel', 'test with')
        raise UserValueError(
            f'{place} has no box of a {kind} class to {use}. Of its '
            f'{len(data["annotations"])} boxes, {sum(others.values())} are of other '
            f'classes and {len(dropped)} have no area in their image. Give a file with '
            'such boxes, or other classes.')
    occupied = {a['image_id'] for a in annotations}
    images = [image for image in data['images']
              if keep_empty or benchmark == 'lvis' or image['id'] in occupied]
    add_file_names(images)
    categories = [c for c in data['categories'] if names[c['id']] in wanted]
    num_base = sum(counts[name] for name in classes.base)
    file = SplitFile(
        target, len(images), len(data['images']) - len(images), num_base,
        len(annotations) - num_base, sum(others.values()),
        tuple(name for name in shown if not counts[name]),
        clipped, dropped)
    return data | dict(images=images, annotations=annotations,
                       categories=categories), file


def _fitted(data: dict) -> tuple[list[dict], tuple, tuple]:
    """Annotations as mmdet reads them, and ids of images with clipped, dropped boxes.
    """
    fitted = fit_boxes(data)
    add_areas(fitted.annotations)
    return fitted.annotations, fitted.clipped, fitted.dropped


def _image_folder(source: Path, images: list[dict]) -> str | None:
    """The only folder near an annotation file that has its first and last image."""
    names = [image['file_name'] for image in (*images[:1], *images[-1:])
             if 'file_name' in image]
    near = [source.parent, source.parent.parent]
    near += [folder for parent in near for folder in (parent, parent / 'images')
             if folder.is_dir() for folder in folder.iterdir() if folder.is_dir()]
    found = {folder.resolve(): folder for folder in reversed(near)
             if names and all((folder / name).is_file() for name in names)}
    return f'{next(iter(found.values()))}/' if len(found) == 1 else None

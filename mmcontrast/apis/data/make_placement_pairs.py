"""Make placement pairs of images with instance masks, by cutting out and inpainting."""
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...datasets.coco_annotations import add_file_names, read_annotations
from ...datasets.open_vocabulary import plain_name
from ...errors import UserValueError, did_you_mean
from ...models.text.vocabulary import class_list
from ..progress import progress_bar
from .cutting import Rules
from .inpainting import Inpainter, TeleaInpainter
from .pair_folder import PairFolder
from .pair_maker import PairMaker, Scorer
from .parallel import in_parallel


@dataclass(frozen=True)
class PairsMade:
    """Result of :func:`make_placement_pairs`.

    Attributes:
        path: The pair file.
        num_pairs: Pairs in it.
        num_images: Images of the annotation file.
        num_resumed: Images that an earlier, unfinished call had done.
        reasons: Reason -> how many objects or images it kept out.
        skipped: Text file that lists them.
    """

    path: Path
    num_pairs: int
    num_images: int
    num_resumed: int
    reasons: Counter
    skipped: Path

    @property
    def config(self) -> str:
        """Config lines that read it, for below the ``_base_`` of a config."""
        return f"""train_dataloader = dict(dataset=dict(
    _delete_=True, type='mmcontrast.PlacementPairs', ann_file={str(self.path)!r},
    pipeline=_base_.train_dataloader.dataset.pipeline))"""


def make_placement_pairs(
        annotations: str | Path, images: str | Path, out: str | Path,
        classes: str | Sequence[str] | None = None, rules: Rules | None = None,
        inpainter: Inpainter | None = None, dilate: float = 0.08, num_extra: int = 3,
        scorer: Scorer | None = None, min_score: float = 0.5, seed: int = 0,
        limit: int | None = None, workers: int = 0, overwrite: bool = False,
        progress: bool = True) -> PairsMade:
    """Cut one object out of each image, and write background, object and box.

    The recipe of TopNet's self-supervised data (CVPR 2023): an object that nothing
    hides is cut out along its mask, its place is inpainted, and its own box is the one
    place known to be plausible. Which object is taken and where the extra regions lie
    depends on ``seed`` and the id of the image alone.

    A call that was interrupted is resumed by the same call.

    Args:
        annotations: COCO-style file with masks.
        images: Folder of the images.
        out: Folder for ``backgrounds/``, ``objects/``, ``pairs.json``, ``skipped.txt``.
        classes: Cut out objects of these classes only: a list, ``'car;dog'``, or a text
            file with one a line. Others still count as what may hide an object.
        rules: Which objects are good; see :class:`~.cutting.Rules`.
        inpainter: Fills the holes; default: :class:`~.inpainting.TeleaInpainter`.
        dilate, num_extra: See :func:`~.inpainting.remove_object`.
        scorer: Judges an object where it stands in its own image; pairs below
            ``min_score`` are left out.
        min_score: Least score to keep.
        seed: Of all random choices.
        limit: Use only the first images of the file.
        workers: Processes; 0 works in this one. With workers, ``inpainter`` and
            ``scorer`` must be picklable.
        overwrite: Replace what an earlier call wrote to ``out``.
        progress: Show a progress bar.

    Raises:
        FileNotFoundError: If the annotation file or the folder is missing.
        FileExistsError: If ``out`` holds other files, finished pairs, or an unfinished
            run with other settings.
        UserValueError: If an argument is out of range, the file is not valid or has no
            masks, a class is unknown, or no object can be used.
    """
    _check(images, dilate, num_extra, min_score, limit, workers)
    rules, inpainter = rules or Rules(), inpainter or TeleaInpainter()
    data = read_annotations(annotations)
    add_file_names(data['images'])
    _check_masks(data, Path(annotations).name)
    wanted = _wanted(data['categories'], classes, Path(annotations).name)
    settings = dict(
        annotations=str(annotations), images=str(images), classes=sorted(
            wanted.values()), rules=asdict(rules), inpainter=_described(inpainter),
        scorer=_described(scorer), min_score=min_score if scorer else None,
        dilate=dilate, num_extra=num_extra, seed=seed, limit=limit)
    folder = PairFolder(Path(out).expanduser(), settings, overwrite)
    maker = PairMaker(Path(images).expanduser(), folder.path, wanted, rules, inpainter,
                      dilate, num_extra, scorer, min_score, seed)
    by_image = defaultdict(list)
    for annotation in data['annotations']:
        by_image[annotation['image_id']].append(annotation)
    entries = data['images'][:limit]
    done = folder.done()
    jobs = [(entry, by_image[entry['id']]) for entry in entries
            if str(entry['id']) not in done]
    with progress_bar(progress) as bar, folder.open_journal() as journal:
        for record in bar.track(in_parallel(maker, jobs, workers), total=len(jobs),
                                description='pairs'):
            journal(record)
    return _finish(folder, [str(entry['id']) for entry in entries], len(done))


def _check(images, dilate: float, num_extra: int, min_score: float,
           limit: int | None, workers: int) -> None:
    if not Path(images).expanduser().is_dir():
        raise FileNotFoundError(f'No folder of images at {images}.')
    for name, value, least in (('dilate', dilate, 0), ('num_extra', num_extra, 0),
                               ('workers', workers, 0), ('limit', limit or 1, 1)):
        if value < least:
            raise UserValueError(f'{name} must be {least} or more, got {value}.')
    if not 0 <= min_score <= 1:
        raise UserValueError(f'min_score must be in [0, 1], got {min_score}.')


def _check_masks(data: dict, place: str) -> None:
    if not data['annotations']:
        raise UserValueError(f'{place} has no annotation; there is nothing to cut out.')
    if not any(annotation.get('segmentation') for annotation in data['annotations']):
        raise UserValueError(
            f'{place} has boxes only: none of its {len(data["annotations"])} '
            "annotations has a 'segmentation'. Objects are cut out along their masks; "
            'give a file of instance segmentation, or add masks with a segmentation '
            'model.')


def _wanted(categories: list[dict], classes, place: str) -> dict:
    """Id -> name of the categories to cut out."""
    names = {c['id']: plain_name(c['name']) for c in categories}
    if classes is None:
        return names
    chosen = [plain_name(name) for name in class_list(classes)]
    for name in chosen:
        if name not in names.values():
            raise UserValueError(f'{place} has no category {name!r}'
                                 f'{did_you_mean(name, names.values())}')
    return {number: name for number, name in names.items() if name in chosen}


def _described(function: Callable | None) -> str | None:
    """What a callable is, to tell whether an unfinished run had the same one."""
    if function is None:
        return None
    plain = {key: value for key, value in getattr(function, '__dict__', {}).items()
             if isinstance(value, str | int | float)}
    name = getattr(function, '__qualname__', type(function).__qualname__)
    return f'{name}{plain or ""}'


def _finish(folder: PairFolder, image_ids: list[str], num_resumed: int) -> PairsMade:
    """Write what lies in the journal, in the order of the annotation file."""
    done = folder.done()
    records = [done[image_id] for image_id in image_ids]
    pairs = [record['pair'] for record in records if record['pair']]
    reasons = Counter(reason for record in records for _, reason in record['skipped'])
    folder.finish(pairs, records, reasons)
    if not pairs:
        counts = ', '.join(f'{reason} ({n})' for reason, n in reasons.most_common())
        raise UserValueError(
            f'No object of {folder.settings["annotations"]} can be used: {counts}. '
            f'{folder.skipped_path} lists them. Loosen the rules that keep most of '
            'them out, or give other images.')
    return PairsMade(folder.pairs_path, len(pairs), len(records), num_resumed, reasons,
                     folder.skipped_path)

"""Make placement pairs of images with instance masks, by cutting out and inpainting."""
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserValueError
from ...io.manifest import file_sha256
from ...progress import progress_bar
from .annotated_images import AnnotatedImages
from .arguments import check_numbers, check_shares
from .cutting import Rules
from .inpainting import Inpainter, TeleaInpainter
from .pair_folder import PairFolder
from .pair_maker import PairMaker, Scorer
from .parallel import in_parallel

_MASKS_NEEDED = (
    'Give a file of instance segmentation, or add masks with a segmentation model.')


_CONFIG = 'mmcontrast::topnet/topnet_vit-s16_8xb8-25e_inpainted-256x256.py'


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
        """A config that reads it for training."""
        return f"""_base_ = '{_CONFIG}'
train_dataloader = dict(dataset=dict(
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
            file with one class per line. Others still count as what may hide an object.
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
            run with other settings, or if another process writes to it.
        UserValueError: If an argument is out of range, the file is not valid or has no
            masks, a class is unknown, or no object can be used.
    """
    check_numbers(0, num_extra=num_extra, workers=workers, seed=seed)
    check_numbers(1, limit=limit)
    check_shares(dilate=dilate, min_score=min_score)
    rules, inpainter = rules or Rules(), inpainter or TeleaInpainter()
    source = AnnotatedImages(annotations, images, _MASKS_NEEDED)
    wanted = source.categories(classes)
    settings = dict(
        annotations=str(annotations), annotations_sha256=file_sha256(annotations),
        images=str(images), classes=sorted(wanted.values()), rules=asdict(rules),
        inpainter=_described(inpainter), scorer=_described(scorer),
        min_score=min_score if scorer else None, dilate=dilate, num_extra=num_extra,
        seed=seed, limit=limit)
    folder = PairFolder(Path(out).expanduser(), settings)
    maker = PairMaker(source.folder, folder.path, wanted, rules, inpainter, dilate,
                      num_extra, scorer, min_score, seed)
    entries = source.entries[:limit]
    with folder.opened(overwrite, annotations=annotations, images=images):
        done = folder.done()
        jobs = [(entry, source.objects(entry)) for entry in entries
                if entry['id'] not in done]
        with progress_bar(progress) as bar, folder.open_journal() as journal:
            for record in bar.track(in_parallel(maker, jobs, workers), total=len(jobs),
                                    description='pairs'):
                journal(record)
        return _finish(folder, [entry['id'] for entry in entries], len(done))


def _described(function: Callable | None) -> str | None:
    """What a callable is, to tell whether an unfinished run had the same one."""
    if function is None:
        return None
    plain = {key: value for key, value in getattr(function, '__dict__', {}).items()
             if isinstance(value, str | int | float)}
    name = getattr(function, '__qualname__', type(function).__qualname__)
    return f'{name}{plain or ""}'


def _finish(folder: PairFolder, image_ids: list, num_resumed: int) -> PairsMade:
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

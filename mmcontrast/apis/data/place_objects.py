"""Make a placement bank: where a trained model finds objects plausible in images."""
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ...datasets.coco_annotations import add_file_names, read_annotations
from ...datasets.image_lists import list_folder
from ...datasets.placement_bank import OBJECTS, BankObject
from ...errors import UserValueError, did_you_mean
from ...io.atomic import remove_partial_files
from ...io.manifest import file_sha256
from ...models.text.vocabulary import class_list
from ...registry import FUNCTIONS
from ...structures.protocols import PlacesObjects
from ..inferencers.placement_inputs import preparing_step
from ..loading import LoadedModel, load_model, tested_dataset
from ..progress import progress_bar
from .bank_folder import (
    BankMade,
    ImagePlacer,
    count_bank,
    prepare_folder,
    reusable_bank,
    write_bank,
)
from .cutting import Rules
from .object_pool import BOX_MASKS, ObjectPool, cut_objects, read_objects

_WANTED = 'Give the config of a model that places objects, such as TopNet.'


def place_objects(
        config: str, checkpoint: str, backgrounds: str | Path, out: str | Path,
        images: str | Path | None = None, objects: str | Path | None = None,
        object_images: str | Path | None = None,
        classes: str | Sequence[str] | None = None, rules: Rules | None = None,
        box_mask: str | None = None, with_occluded: bool = False, per_class: int = 100,
        objects_per_image: int = 20, k: int = 10, nms_iou: float = 0.5, seed: int = 0,
        limit: int | None = None, part: tuple[int, int] = (1, 1),
        device: str | None = None, batch_size: int = 8,
        cfg_options: dict | None = None, overwrite: bool = False,
        progress: bool = True) -> BankMade:
    """Rank places of cut-outs in the images of a training set, for pasting them there.

    Every background is encoded once for all of its objects, every object once. An
    interrupted call is resumed by the same call. Several processes may fill one bank at
    once; results do not depend on how many.

    Args:
        config, checkpoint: Of the model.
        backgrounds: COCO-style file of the images, or a folder of images.
        out: Folder of the bank, see :mod:`mmcontrast.datasets.placement_bank`.
        images: Folder of the images of that file.
        objects: COCO-style file to cut objects out of, or a folder of RGBA files with a
            folder a class; default: ``backgrounds``.
        object_images: Folder of the images of that file; default: ``images``.
        classes: Objects of these classes only: a list, ``'car;dog'``, or a text file.
        rules: Which objects are good to cut out.
        box_mask: 'ellipse' or 'rectangle': cut out along these, for files that have
            boxes and no masks.
        with_occluded: Take objects that touch others, too: parts of them may be hidden.
        per_class: Most objects of a class, drawn at random.
        objects_per_image: Objects that are placed in an image, drawn at random among
            those of other images.
        k, nms_iou: Most boxes of an object, and their largest overlap.
        seed: Of all random choices.
        limit: Use only the first backgrounds.
        part: (i, n): place in every n-th image only, from the i-th; for n processes.
        device: 'cpu', 'cuda:1', ...; None for a GPU if there is one.
        batch_size: Objects that are placed at a time.
        cfg_options: Overrides of the config, dotted keys.
        overwrite: Replace what an earlier call wrote to ``out``.
        progress: Show progress bars.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        FileExistsError: If ``out`` holds other files, or a bank of other settings.
        UserValueError: If an argument is out of range, the model places no objects, a
            file is not valid or has no masks, a class is unknown, or no object or no
            image can be used.
    """
    _check(box_mask, part, limit=limit or 1, per_class=per_class, k=k,
           objects_per_image=objects_per_image, batch_size=batch_size)
    rules, out = rules or Rules(min_scale=0, min_side=8), Path(out).expanduser()
    objects, object_images = objects or backgrounds, object_images or images
    folder, names = _backgrounds(backgrounds, images, limit)
    loaded = load_model(config, checkpoint, device, cfg_options, wanted=_WANTED)
    if not isinstance(loaded.model, PlacesObjects):
        raise UserValueError(f'{config}: {type(loaded.model).__name__} places no '
                             f'objects. {_WANTED}')
    step = preparing_step(loaded)
    settings = dict(
        network=_network_hash(loaded, checkpoint), backgrounds=str(backgrounds),
        objects=str(objects), object_images=object_images and str(object_images),
        classes=None if classes is None else class_list(classes), rules=asdict(rules),
        box_mask=box_mask, with_occluded=with_occluded, per_class=per_class,
        objects_per_image=objects_per_image, k=k, nms_iou=nms_iou, seed=seed,
        limit=limit)
    prepare_folder(out, overwrite)
    with progress_bar(progress) as bar:
        bank = reusable_bank(out, settings, names)
        if bank is None:
            pool = _collect(out, objects, object_images, settings, rules,
                            lambda jobs: bar.track(jobs, description='objects'))
            bank = write_bank(out, settings, pool, folder, names, config, checkpoint)
        things = [BankObject(**entry) for entry in bank['objects']]
        placer = FUNCTIONS.get('ObjectPlacer')(
            loaded.model, step, [str(out / thing.file) for thing in things], k, nms_iou,
            batch_size)
        place = ImagePlacer(folder, out, things, settings, placer)
        mine = names[part[0] - 1::part[1]]
        placed = sum(place(name) for name in bar.track(mine, description='images'))
    return count_bank(out, bank, things, len(mine) - placed, placed)


def _check(box_mask: str | None, part: tuple[int, int], **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserValueError(f'{name} must be 1 or more, got {value}.')
    if box_mask is not None and box_mask not in BOX_MASKS:
        raise UserValueError(
            f'box_mask must be one of {BOX_MASKS}, got {box_mask!r}.')
    if not 1 <= part[0] <= part[1]:
        raise UserValueError(
            f'part must be (i, n), i from 1 to n, got {tuple(part)}.')


def _backgrounds(source: str | Path, images: str | Path | None, limit: int | None
                 ) -> tuple[Path, list[str]]:
    """Folder of the images, and their names below it."""
    source = Path(source).expanduser()
    if source.is_dir():
        paths = [info['img_path'] for info in list_folder(str(source))[0]]
        names = [os.path.relpath(path, source).replace(os.sep, '/') for path in paths]
        return source, names[:limit]
    data = read_annotations(source, with_boxes=False)
    add_file_names(data['images'])
    folder = _image_folder(images, source)
    names = [entry['file_name'] for entry in data['images']]
    if not names:
        raise UserValueError(f'{source} lists no image.')
    return folder, names[:limit]


def _image_folder(images: str | Path | None, source: Path) -> Path:
    if images is None:
        raise UserValueError(
            f'{source.name} lists images; name their folder: --images FOLDER '
            "(images='FOLDER').")
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f'No folder of images at {images}.')
    return folder


def _network_hash(loaded: LoadedModel, checkpoint: str) -> str:
    """Of the weights, the model and how images are prepared for it."""
    text = repr((loaded.config.get('model'),
                 tested_dataset(loaded.config).get('pipeline')))
    return hashlib.sha256(f'{file_sha256(checkpoint)} {text}'.encode()).hexdigest()


def _collect(out: Path, objects: str | Path, images: str | Path | None, settings: dict,
             rules: Rules, track: Callable) -> ObjectPool:
    """Fill the folder of objects."""
    for folder in (out, out / OBJECTS):
        remove_partial_files(folder)
    pool, source = ObjectPool(out, settings['per_class']), Path(objects).expanduser()
    seed, wanted = settings['seed'], settings['classes']
    if source.is_dir():
        found = sorted(path.name for path in source.iterdir() if path.is_dir())
        read_objects(pool, source, _known(wanted, found, str(source)), seed, track)
    else:
        data = read_annotations(source)
        add_file_names(data['images'])
        if settings['box_mask'] is None:
            _check_masks(data, source.name)
        names = {entry['id']: entry['name'] for entry in data['categories']}
        chosen = _known(wanted, list(names.values()), source.name)
        names = {number: name for number, name in names.items()
                 if chosen is None or name in chosen}
        cut_objects(pool, data, _image_folder(images, source), names, rules,
                    settings['box_mask'], settings['with_occluded'], seed, track)
    if not pool.objects:
        counts = [f'{reason} ({count})' for reason, count in pool.reasons.most_common()]
        raise UserValueError(
            f'No object of {objects} can be used: {", ".join(counts) or "none there"}. '
            'Loosen the rules that keep most of them out, or give other objects.')
    return pool


def _known(wanted: list[str] | None, known: Sequence[str], place: str
           ) -> list[str] | None:
    for name in wanted or ():
        if name not in known:
            raise UserValueError(
                f'{place} has no class {name!r}{did_you_mean(name, known)}')
    return wanted


def _check_masks(data: dict, place: str) -> None:
    if not any(annotation.get('segmentation') for annotation in data['annotations']):
        raise UserValueError(
            f'{place} has no masks: none of its {len(data["annotations"])} annotations '
            "has a 'segmentation' to cut out along. Objects that fill their boxes can "
            'be cut out by an ellipse or a rectangle: --box-mask ellipse '
            "(box_mask='ellipse').")

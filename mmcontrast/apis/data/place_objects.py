"""Make a placement bank: where a trained model finds objects plausible in images."""
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ...datasets.coco_annotations import add_file_names, read_annotations
from ...datasets.image_lists import list_folder
from ...errors import UserValueError
from ...io.manifest import file_sha256
from ...models.text.vocabulary import class_list
from ...progress import progress_bar
from ...registry import FUNCTIONS
from ...structures.protocols import PlacesObjects
from ..inferencers.placement_inputs import preparing_step
from ..loading import LoadedModel, load_model, tested_dataset
from .annotated_images import AnnotatedImages, chosen_classes, image_folder
from .arguments import check_numbers, check_shares
from .bank_folder import BankFolder, BankMade
from .cutting import Rules
from .image_placer import ImagePlacer
from .object_pool import (
    BOX_MASKS,
    ObjectPool,
    cut_objects,
    list_objects,
    read_objects,
)

_WANTED = 'Give the config of a model that places objects, such as TopNet.'
_WITHOUT_MASKS = (
    'Objects that fill their boxes can be cut out by an ellipse or a rectangle: '
    "--box-mask ellipse (box_mask='ellipse').")


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
        objects: COCO-style file to cut objects out of, or a folder of RGBA files with
            one folder per class; default: ``backgrounds``.
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
        overwrite: Replace what an earlier call wrote to ``out``; not with ``part``.
        progress: Show progress bars.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        FileExistsError: If ``out`` holds other files, or a bank of other settings.
        UserValueError: If an argument is out of range, the model places no objects, a
            file is not valid or has no masks, a class is unknown, or no object or no
            image can be used.
    """
    check_numbers(1, limit=limit, per_class=per_class, k=k, batch_size=batch_size,
                  objects_per_image=objects_per_image)
    check_numbers(0, seed=seed)
    check_shares(nms_iou=nms_iou)
    _check(box_mask, part, overwrite)
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
        limit=limit, **{f'{name}_sha256': file_sha256(path) for name, path in dict(
            backgrounds=backgrounds, objects=objects).items()
            if Path(path).expanduser().is_file()})
    bank = BankFolder(out, settings, names, folder)
    bank.check(backgrounds=backgrounds, images=images, objects=objects,
               object_images=object_images)
    with progress_bar(progress) as bar:
        if overwrite or not bank.resume():
            # Whatever is wrong with them is said before anything is removed.
            collect = _objects(objects, object_images, settings, rules)
            bank.start(overwrite)
            pool = ObjectPool(out, per_class)
            collect(pool, lambda jobs: bar.track(jobs, description='objects'))
            _check_found(pool, objects)
            bank.write(pool, str(config), str(checkpoint))
        things = bank.objects
        placer = FUNCTIONS.get('ObjectPlacer')(
            loaded.model, step, [str(out / thing.file) for thing in things], k, nms_iou,
            batch_size)
        place = ImagePlacer(folder, out, things, seed, objects_per_image, placer)
        mine = names[part[0] - 1::part[1]]
        placed = sum(place(name) for name in bar.track(mine, description='images'))
    return bank.count(len(mine) - placed, placed)


def _check(box_mask: str | None, part: tuple[int, int], overwrite: bool) -> None:
    if box_mask is not None and box_mask not in BOX_MASKS:
        raise UserValueError(
            f'box_mask must be one of {BOX_MASKS}, got {box_mask!r}.')
    if not 1 <= part[0] <= part[1]:
        raise UserValueError(
            f'part must be (i, n), i from 1 to n, got {tuple(part)}.')
    if overwrite and part[1] > 1:
        raise UserValueError(
            '--overwrite (overwrite=True) would remove what the other parts have done. '
            'Run it once without --part, or remove the folder, before the parts start.')


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
    folder = image_folder(images, source.name)
    names = [entry['file_name'] for entry in data['images']]
    if not names:
        raise UserValueError(f'{source} lists no image.')
    return folder, names[:limit]


def _network_hash(loaded: LoadedModel, checkpoint: str) -> str:
    """Of the weights, the model and how images are prepared for it."""
    text = repr((loaded.config.get('model'),
                 tested_dataset(loaded.config).get('pipeline')))
    return hashlib.sha256(f'{file_sha256(checkpoint)} {text}'.encode()).hexdigest()


def _objects(source: str | Path, images: str | Path | None, settings: dict,
             rules: Rules) -> Callable[[ObjectPool, Callable], None]:
    """Open the file or folder of objects; returns what fills a pool with them."""
    source = Path(source).expanduser()
    classes, seed, box_mask = (settings[x] for x in ('classes', 'seed', 'box_mask'))
    if source.is_dir():
        paths = list_objects(source)
        found = sorted({path.parent.name for path in paths})
        wanted = chosen_classes(found, classes, str(source))
        return lambda pool, track: read_objects(
            pool, source, paths, wanted, seed, track)
    annotated = AnnotatedImages(source, images, None if box_mask else _WITHOUT_MASKS)
    categories = annotated.categories(classes)
    return lambda pool, track: cut_objects(
        pool, annotated, categories, rules, box_mask, settings['with_occluded'], seed,
        track)


def _check_found(pool: ObjectPool, objects: str | Path) -> None:
    if not pool.objects:
        counts = [f'{reason} ({count})' for reason, count in pool.reasons.most_common()]
        raise UserValueError(
            f'No object of {objects} can be used: {", ".join(counts) or "none there"}. '
            'Loosen the rules that keep most of them out, or give other objects.')

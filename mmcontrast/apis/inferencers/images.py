"""Read images of any kind and put them through the test pipeline of a config."""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...datasets.bad_images import BadImage
from ...datasets.image_files import as_image, read_image
from ...datasets.image_lists import list_folder
from ...datasets.workers import seed_worker
from ...io.config_types import type_name
from ...progress import progress_bar
from ...registry import default_scope
from ..loading import tested_dataset
from ..machine import usable_cores

#: What an inferencer takes.
Images = str | Path | np.ndarray | Image.Image | Sequence


@dataclass(frozen=True)
class ImageSource:
    """One image, not read yet.

    Attributes:
        name: Of the file, below the folder that was named; ``image_3`` of an array.
        image: The file, or the image itself.
    """

    name: str
    image: str | np.ndarray | Image.Image

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright.

        Raises:
            BadImage: If the file is damaged or no image.
        """
        if isinstance(self.image, str):
            return np.asarray(read_image(self.image))
        if isinstance(self.image, np.ndarray):
            return as_rgb(self.image, self.name)
        return np.asarray(as_image(self.image, self.name))


class InputImage(NamedTuple):
    """One image for the network.

    Attributes:
        index: Its position among the sources.
        name: Of its source.
        image: (H, W, 3) uint8 RGB as it was read; None for a bad one.
        inputs: (3, h, w) uint8 BGR, resized as for testing.
        sample: mmseg's or mmdet's data sample, with the sizes.
        error: Why it could not be read or resized, else None.
    """

    index: int
    name: str
    image: np.ndarray | None
    inputs: Tensor | None
    sample: Any
    error: str | None


def list_images(images: Images) -> list[ImageSource]:
    """List the images of a file, folder, array, ``PIL.Image``, or a list of these.

    Args:
        images: Arrays are (H, W, 3) uint8 in BGR, as ``cv2.imread`` and ``mmcv.imread``
            give and mmdet and mmseg take them; a ``PIL.Image`` knows its own order.
            Folders are searched with all folders below.

    Raises:
        FileNotFoundError: If a file is missing or a folder holds no image.
        TypeError, ValueError: If something is no image, or there is none.
    """
    if isinstance(images, str | Path | np.ndarray | Image.Image):
        images = [images]
    if not isinstance(images, Sequence):
        raise TypeError('images: expected a file, a folder, an array, a PIL.Image or a '
                        f'list of these, got {type(images).__name__}.')
    if not len(images):
        raise ValueError('images is an empty list; name at least one image.')
    sources = []
    for image in images:
        sources += _sources(image, len(sources))
    return sources


def _sources(image: Any, number: int) -> list[ImageSource]:
    if isinstance(image, np.ndarray | Image.Image):
        if isinstance(image, np.ndarray):
            as_rgb(image, f'image_{number}')  # refused before anything else is done
        elif 0 in image.size:
            raise ValueError(f'image_{number} has no pixels: its size is {image.size}.')
        return [ImageSource(f'image_{number}', image)]
    if not isinstance(image, str | Path):
        raise TypeError(f'images[{number}]: expected a file, a folder, an array or a '
                        f'PIL.Image, got {type(image).__name__}.')
    path = Path(image).expanduser()
    if path.is_dir():
        return [ImageSource(str(Path(item['img_path']).relative_to(path)),
                            item['img_path'])
                for item in list_folder(str(path))[0]]
    if not path.is_file():
        raise FileNotFoundError(f'{image}: no such image or folder of images.')
    return [ImageSource(path.name, str(path))]


def as_rgb(array: np.ndarray, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an (H, W, 3) uint8 BGR array.

    Raises:
        ValueError: If it is none.
    """
    if (array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8
            or not array.size):
        raise ValueError(
            f'{name}: expected an (H, W, 3) uint8 array in BGR, as cv2.imread gives '
            f'it, got {array.dtype} of shape {array.shape}. A PIL.Image of any mode '
            'is converted.')
    return np.ascontiguousarray(array[..., ::-1])


class InputImages(Dataset):
    """Dataset that reads images through a test pipeline, as :class:`InputImage`.

    Args:
        pipeline: Takes ``img`` (H, W, 3) uint8 and gives ``inputs``, ``data_samples``.
        bgr: Whether it wants blue first, as those of mmseg and mmdet.
    """

    def __init__(self, sources: Sequence[ImageSource], pipeline: Callable,
                 bgr: bool = True) -> None:
        self.sources, self.pipeline, self.bgr = list(sources), pipeline, bgr

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> InputImage:
        source = self.sources[index]
        try:
            image = source.read()
        except BadImage as error:
            return InputImage(index, source.name, None, None, None, str(error))
        size = image.shape[:2]
        path = source.image if isinstance(source.image, str) else source.name
        try:
            packed = self.pipeline(dict(
                # A copy: Pillow's arrays are read-only, and transforms may write.
                img=np.array(image[..., ::-1] if self.bgr else image, order='C'),
                img_path=path, img_id=index, img_shape=size, ori_shape=size,
                seg_fields=[], reduce_zero_label=False))
        # Whatever a transform of any library raises; one image costs no other.
        except Exception as error:
            return InputImage(
                index, source.name, None, None, None,
                f'{source.name}: the test pipeline of the config cannot take an image '
                f'of {size[1]}x{size[0]} pixels: {type(error).__name__}: {error}')
        return InputImage(index, source.name, image, packed['inputs'],
                          packed['data_samples'], None)


def input_pipeline(cfg: Config, scope: str = 'mmcontrast') -> Compose:
    """The test pipeline of a config, for images that were read already.

    Args:
        scope: Where bare names are looked up, if the config has no default scope.

    Raises:
        ValueError: If the config has none.
    """
    steps = tested_dataset(cfg).get('pipeline')
    if not steps:
        raise ValueError(
            f'{cfg.filename} has no test_dataloader with a pipeline, which says how '
            'large images go into the network.')
    # LoadImageFromFile, and labels of whatever kind.
    kept = [step for step in steps
            if not type_name(step).startswith('Load')]
    with default_scope(cfg, scope):
        return Compose(kept)


def iterate_batches(images: InputImages, batch_size: int, workers: int, progress: bool,
                    skipped: list[str]) -> Iterator[list[InputImage]]:
    """Images for the network, neighbors of one size together.

    Padding to a common size would change what the network sees.

    Args:
        batch_size: Maximum number of images in a batch.
        workers: Maximum number of processes that read images; short lists need none.
        progress: Show a bar where there are several images.
        skipped: Takes a sentence for each image that cannot be read.

    Raises:
        ValueError: At the end, if none could be read.
    """
    # torch warns about more processes than processors.
    workers = min(workers, usable_cores(), len(images) // batch_size)
    loader = DataLoader(images, batch_size=None, num_workers=workers,
                        collate_fn=_unchanged,
                        worker_init_fn=seed_worker if workers else None)
    batch: list[InputImage] = []
    with progress_bar(progress and len(images) > 1) as bar:
        for item in bar.track(loader, len(images), description='images'):
            if item.error:
                skipped.append(item.error)
                continue
            if batch and (len(batch) == batch_size
                          or item.inputs.shape != batch[0].inputs.shape):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch
    if len(skipped) == len(images):
        raise ValueError(skipped_sentence(skipped, len(images)))


def skipped_sentence(skipped: Sequence[str], total: int) -> str:
    """What was left out of ``total`` images."""
    if total == 1:
        return f'The image cannot be used. {skipped[0]}'
    shown = [*skipped[:5], *['...'] * (len(skipped) > 5)]
    return '\n  '.join([
        f'{len(skipped)} of {total} images could not be used and were left out:',
        *shown])


def _unchanged(item: InputImage) -> InputImage:
    return item

"""Write the files that several layouts share: images, JSON and text."""
import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...io.atomic import write_text
from .scene import Scene

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file in one step, never a part of it."""
    write_text(path, json.dumps(content))


def add_image(root: Path, split: str, name: str, scene: Scene, images: list[dict]
              ) -> dict:
    """Write a COCO image, unless another layout has done so, and append its entry."""
    file_name = f'{name}.jpg'
    path = root / 'images' / split / file_name
    if not path.exists():
        write_rgb(path, scene.image)
    images.append(dict(id=len(images) + 1, file_name=file_name, width=scene.size,
                       height=scene.size, seed=scene.seed))
    return images[-1]


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) RGB image."""
    write_image(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)


def write_image(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write a gray or (H, W, 3) BGR image, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # An interrupted call leaves no half image, which the next one would keep.
    partial = path.with_name(f'.partial-{path.name}')
    if not cv2.imwrite(str(partial), image, list(options)):
        raise OSError(f'{path}: the image could not be written.')
    os.replace(partial, path)


def jpeg_bytes(image: np.ndarray) -> bytes:
    """An (H, W, 3) RGB image as the content of a JPEG file."""
    _, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)
    return data.tobytes()

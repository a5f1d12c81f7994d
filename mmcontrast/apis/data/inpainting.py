"""Remove an object from an image: inpaint its place, and other places like it."""
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...errors import UserValueError

#: (H, W, 3) uint8 RGB image and (H, W) bool mask of what to replace -> such an image.
Inpainter = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: Largest share of an image that may be inpainted.
MAX_HOLES = 0.5

# Size of an extra region, as a factor of the object's.
_SCALES = (0.7, 1.3)
_TRIES = 20
# Pixels beyond which masks are grown by distance: the time of a kernel grows with its
# area.
_MAX_KERNEL = 64


class TeleaInpainter:
    """OpenCV's inpainting by fast marching (Telea, 2004): offline, smooth, no texture.

    Args:
        radius: Pixels around a point that its color is taken from.
    """

    def __init__(self, radius: float = 5.0) -> None:
        if radius <= 0:
            raise UserValueError(f'radius must be above 0 pixels, got {radius}.')
        self.radius = radius

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return cv2.inpaint(image, mask.astype(np.uint8), self.radius, cv2.INPAINT_TELEA)


class DiffusersInpainter:
    """An inpainting pipeline of diffusers, from a local folder.

    Args:
        weights: Folder with ``model_index.json`` and safetensors weights. Nothing is
            downloaded, and nothing in the files is executed.
        device: Where it runs.
        prompt: What the hole is filled with; '' for plain background.
        steps: Denoising steps.
        size: Longest side in pixels at which it works.
        seed: Of its noise; the same image gives the same result.
        pipeline: A pipeline that is loaded already; ``weights`` is not read then.

    Raises:
        FileNotFoundError: If there is no such pipeline.
        ImportError: If diffusers is not installed.
    """

    def __init__(self, weights: str | Path = '', device: str = 'cpu', prompt: str = '',
                 steps: int = 30, size: int = 512, seed: int = 0,
                 pipeline: Callable | None = None) -> None:
        if steps < 1 or size < 64:
            raise UserValueError('steps must be 1 or more and size 64 pixels or more, '
                                 f'got {steps} and {size}.')
        self.pipeline = pipeline or load_pipeline(weights, device)
        self.weights, self.device, self.prompt = str(weights), device, prompt
        self.steps, self.size, self.seed = steps, size, seed

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch
        height, width = mask.shape
        factor = self.size / max(height, width)
        # The latent grid of these models has cells of 8 pixels.
        small = [max(8 * round(side * factor / 8), 8) for side in (width, height)]
        filled = self.pipeline(
            prompt=self.prompt, image=Image.fromarray(image).resize(small),
            mask_image=Image.fromarray(255 * mask.astype(np.uint8)).resize(
                small, Image.NEAREST),
            width=small[0], height=small[1], num_inference_steps=self.steps,
            generator=torch.Generator(self.device).manual_seed(self.seed)).images[0]
        return np.asarray(filled.convert('RGB').resize((width, height), Image.BICUBIC))


def load_pipeline(weights: str | Path, device: str) -> Callable:
    """Load an inpainting pipeline of diffusers from a local folder, as data only."""
    folder = Path(weights).expanduser()
    if not (folder / 'model_index.json').is_file():
        raise FileNotFoundError(
            f'{folder} is no pipeline of diffusers: it has no model_index.json. Give '
            'the local folder of an inpainting model with --weights (weights=...); '
            'nothing is downloaded.')
    try:
        from diffusers import AutoPipelineForInpainting
    except ImportError as error:
        raise ImportError(
            'Inpainting by diffusion needs the library diffusers, which cannot be '
            f'imported here: {error}. Run: pip install diffusers transformers '
            'accelerate, or use --inpainter telea.') from error
    return AutoPipelineForInpainting.from_pretrained(
        folder, local_files_only=True, use_safetensors=True).to(device)


def remove_object(image: np.ndarray, mask: np.ndarray, occupied: np.ndarray,
                  inpaint: Inpainter, rng: np.random.Generator, dilate: float = 0.08,
                  num_extra: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Inpaint an object, and regions of its shape elsewhere, in one go.

    A network could find the place of an object by the artifacts of inpainting. Regions
    without an object have the same ones, so that they say nothing.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the object.
        occupied: (H, W) bool, other objects; extra regions keep clear of them.
        inpaint: Fills what a mask marks; what it changes elsewhere is undone.
        rng: Draws the extra regions.
        dilate: Margin around the object, as a share of the square root of its area, in
            [0, 1]; at least 2 pixels. It takes the soft edge and some of the shadow.
        num_extra: Extra regions; fewer where there is no room, or where more than half
            of the image would be inpainted.

    Returns:
        The image without the object, and (H, W) bool: where it was inpainted.

    Raises:
        UserValueError: If ``inpaint`` returns something else than such an image.
    """
    hole = hole_of(mask, dilate)
    holes = hole.copy()
    for _ in range(num_extra):
        more = holes | _extra_region(hole, occupied | holes, rng)
        holes = more if more.mean() <= MAX_HOLES else holes
    filled = np.asarray(inpaint(image, holes))
    if filled.shape != image.shape or filled.dtype != np.uint8:
        raise UserValueError(
            f'The inpainter must return a uint8 image of shape {image.shape}, got '
            f'{filled.dtype} of {filled.shape}.')
    return np.where(holes[..., None], filled, image), holes


def hole_of(mask: np.ndarray, dilate: float) -> np.ndarray:
    """(H, W) bool: an object and its margin; see :func:`remove_object`."""
    return dilated(mask, max(round(dilate * float(mask.sum()) ** 0.5), 2))


def dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A bool mask, grown by some pixels on every side."""
    if pixels > _MAX_KERNEL and mask.any():
        distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2,
                                         cv2.DIST_MASK_PRECISE)
        return distance <= pixels
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _extra_region(hole: np.ndarray, occupied: np.ndarray, rng: np.random.Generator
                  ) -> np.ndarray:
    """A region of the hole's shape, mirrored and scaled, at a free place; or nothing.
    """
    x, y, width, height = cv2.boundingRect(hole.astype(np.uint8))
    shape = hole[y:y + height, x:x + width].astype(np.uint8)
    region = np.zeros_like(hole)
    for _ in range(_TRIES):
        factor, mirrored = rng.uniform(*_SCALES), rng.random() < 0.5
        size = [max(round(side * factor), 1) for side in (width, height)]
        room = hole.shape[1] - size[0], hole.shape[0] - size[1]
        left, top = (int(rng.integers(max(side, 0) + 1)) for side in room)
        if min(room) < 0:
            continue
        stamp = cv2.resize(shape[:, ::-1] if mirrored else shape, size,
                           interpolation=cv2.INTER_NEAREST) > 0
        place = np.s_[top:top + size[1], left:left + size[0]]
        if not (occupied[place] & stamp).any():
            region[place] = stamp
            break
    return region

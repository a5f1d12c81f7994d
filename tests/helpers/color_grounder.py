"""A model of the protocol GroundsPhrases that finds colors: its answers are known."""
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseModel
from PIL import Image
from torch import Tensor

from mmcontrast.errors import UserValueError
from mmcontrast.registry import MODELS
from mmcontrast.structures import PhrasePrediction

COLORS = dict(red=(220, 30, 30), green=(30, 200, 60), blue=(40, 60, 220))
SIZE = 64


@MODELS.register_module()
class ColorGrounder(BaseModel):
    """Ground phrases such as 'the red box': the pixels of that color, and their box.

    Proposals are, in this order, the whole image (score 0.4), the box of each color
    (0.9 if the phrase names it, else 0.1), and that of the color once more, one pixel
    wider (0.8). Existence is 0.95 or 0.05, or left out.

    Args:
        with_existence: Whether there is an existence branch.
        test_cfg: As of :class:`GroundsPhrases`.
    """

    def __init__(self, with_existence: bool = True, test_cfg: dict | None = None
                 ) -> None:
        super().__init__(MODELS.build(dict(
            type='mmdet.DetDataPreprocessor', mean=[0.] * 3, std=[1.] * 3,
            bgr_to_rgb=True)))
        self.with_existence, self.test_cfg = with_existence, test_cfg or {}
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.num_calls = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs

    def check_phrases(self, phrases: Sequence[str]) -> None:
        for phrase in phrases:
            if not phrase.strip('.,!? '):
                raise UserValueError(f'the phrase {phrase!r} is empty.')

    def ground(self, images: Tensor, phrases: Sequence[Sequence[str]],
               max_batch: int = 32) -> list[list[PhrasePrediction]]:
        self.num_calls += 1
        return [[self._one(image, phrase) for phrase in several]
                for image, several in zip(images, phrases, strict=True)]

    def _one(self, image: Tensor, phrase: str) -> PhrasePrediction:
        named = [name for name in COLORS if name in phrase]
        masks = {name: (image - image.new_tensor(color)[:, None, None]).abs().amax(0)
                 < 40 for name, color in COLORS.items()}
        meant = masks[named[0]] if named else torch.zeros_like(masks['red'])
        boxes, scores = [[0., 0., 1., 1.]], [0.4]
        for name, mask in masks.items():
            boxes.append(box_of(mask))
            scores.append(0.9 if name in named and mask.any() else 0.1)
        boxes.append((torch.tensor(box_of(meant)) + torch.tensor(
            [0, 0, 1, 0]) / mask.shape[1]).tolist())
        scores.append(0.8 if meant.any() else 0.05)
        exists = torch.tensor(0.95 if meant.any() else 0.05)
        return PhrasePrediction(
            torch.tensor(boxes), torch.tensor(scores),
            exists if self.with_existence else None, meant.float() * 8 - 4)


def box_of(mask: Tensor) -> list[float]:
    """Box of a mask, as shares of the image."""
    if not mask.any():
        return [0.25, 0.25, 0.5, 0.5]
    height, width = mask.shape
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return [columns.min().item() / width, rows.min().item() / height,
            (columns.max().item() + 1) / width, (rows.max().item() + 1) / height]


def scene(width: int = 128, height: int = 96, **boxes: tuple[int, int, int, int]
          ) -> np.ndarray:
    """(height, width, 3) uint8 RGB: boxes by color name, x1, y1, x2, y2, on gray."""
    image = np.full((height, width, 3), 128, np.uint8)
    for name, (left, top, right, bottom) in boxes.items():
        image[top:bottom, left:right] = COLORS[name]
    return image


def write_files(folder, **model) -> tuple[str, str]:
    """Config and checkpoint of the model; their paths."""
    config, checkpoint = folder / 'colors.py', folder / 'colors.pth'
    config.write_text(
        "custom_imports = dict(imports=['tests.helpers.color_grounder'])\n"
        f"model = {dict(model, type='ColorGrounder')!r}\n"
        'test_dataloader = dict(dataset=dict(pipeline=[\n'
        "    dict(type='LoadImageFromFile'),\n"
        f"    dict(type='mmdet.Resize', scale=({SIZE}, {SIZE}), keep_ratio=False,\n"
        "         interpolation='nearest'),\n"
        "    dict(type='mmdet.PackDetInputs', meta_keys=('img_path', 'img_id',\n"
        "         'ori_shape', 'img_shape'))]))\n")
    torch.save(dict(state_dict=ColorGrounder(**model).state_dict(), meta={}),
               checkpoint)
    return str(config), str(checkpoint)


def save(folder, name: str, image: np.ndarray, **options) -> str:
    """Write an image; its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return str(path)

"""Draw feature maps as colors: their three principal components as RGB."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ..evaluation.features import IMAGENET_MEAN, IMAGENET_STD, feature_maps
from .sheet import truncate_left

_GAP, _LINE = 8, 22


@dataclass(frozen=True)
class PCAMaps:
    """Result of :func:`feature_pca_maps`.

    Attributes:
        maps: One (H, W, 3) uint8 RGB array per image, of the size of the image.
        variance_share: Share of the variance that the three components explain, in
            [0, 1]; near 1 if the features vary in few directions.
    """

    maps: list[np.ndarray]
    variance_share: float


def feature_pca_maps(backbone: nn.Module, images: Sequence[Tensor], out_index: int = -1,
                     mean: Sequence[float] = IMAGENET_MEAN,
                     std: Sequence[float] = IMAGENET_STD) -> PCAMaps:
    """Principal components of the features of a frozen backbone.

    Fitted to the cells of all images together, so that a color means the same in all of
    them. Colors of two backbones do not correspond.

    Args:
        images: (3, H, W) RGB in gray levels from 0 to 255, of any sizes.
        out_index: Which map of the backbone.
        mean, std: Per RGB channel, in gray levels.

    Raises:
        ValueError: If there is no image, or no such map.
    """
    if not images:
        raise ValueError('feature_pca_maps needs at least one image.')
    maps = [feature_maps(backbone, image[None], out_index, mean, std)[0].cpu()
            for image in images]
    components, share = principal_maps(maps)
    sizes = [image.shape[-2:] for image in images]
    return PCAMaps([_smooth(m, size) for m, size in zip(components, sizes, strict=True)
                    ], share)


def principal_maps(maps: Sequence[Tensor], count: int = 3
                   ) -> tuple[list[Tensor], float]:
    """Project maps on their common principal components.

    Args:
        maps: (C, h, w) each; h and w may differ.

    Returns:
        (count, h, w) maps, scaled so that the 1st and 99th percentile over all maps
        are 0 and 1; and the explained share of the variance. Signs, which a PCA leaves
        open, are chosen so that the heavier tail is positive.
    """
    cells = torch.cat([m.flatten(1).T for m in maps]).double()
    cells = cells - cells.mean(0)
    # Eigenvectors of the smaller of the two Gram matrices.
    wide = len(cells) < cells.shape[1]
    gram = cells @ cells.T if wide else cells.T @ cells
    strength, vectors = torch.linalg.eigh(gram)
    strength, vectors = strength.flip(0).clamp_min(0), vectors.flip(1)
    vectors = vectors[:, :count]
    scores = vectors * strength[:count].sqrt() if wide else cells @ vectors
    scores = F.pad(scores, (0, count - scores.shape[1]))
    scores = scores * torch.where(scores.pow(3).sum(0) < 0, -1.0, 1.0)
    low, high = (torch.quantile(scores, q, dim=0) for q in (0.01, 0.99))
    scores = (scores - low) / (high - low).clamp_min(1e-12)
    total = strength.sum().item()
    share = strength[:count].sum().item() / total if total > 0 else 1.0
    parts = scores.float().split([m[0].numel() for m in maps])
    return [part.T.reshape(count, *m.shape[-2:])
            for part, m in zip(parts, maps, strict=True)], share


def draw_feature_maps(images: Sequence[Image.Image], names: Sequence[str],
                      columns: Mapping[str, Sequence[np.ndarray]],
                      width: int = 260) -> Image.Image:
    """A sheet with one row per image: the image, then its map in every column.

    Args:
        names: Written below the images.
        columns: Title, of one or more lines, to one (H, W, 3) uint8 map per image.
        width: Width of an image in pixels.
    """
    font = ImageFont.load_default(15)
    titles = [_lines(title, font, width) for title in ('image', *columns)]
    head = max(map(len, titles)) * _LINE
    heights = [round(width * image.height / image.width) for image in images]
    sheet = Image.new('RGB', (
        _GAP + len(titles) * (width + _GAP),
        _GAP + head + sum(h + _LINE + _GAP for h in heights)), 'white')
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(titles):
        for i, line in enumerate(lines):
            draw.text((_GAP + column * (width + _GAP), _GAP // 2 + i * _LINE), line,
                      'black', font)
    top = _GAP + head
    for row, (image, height) in enumerate(zip(images, heights, strict=True)):
        shown = [image, *(Image.fromarray(maps[row]) for maps in columns.values())]
        for column, shown_image in enumerate(shown):
            sheet.paste(shown_image.resize((width, height), Image.Resampling.BICUBIC),
                        (_GAP + column * (width + _GAP), top))
        name = _lines(names[row], font, width)[0]
        draw.text((_GAP, top + height + 1), name, (90, 90, 90), font)
        top += height + _LINE + _GAP
    return sheet


def _smooth(components: Tensor, size: tuple[int, int]) -> np.ndarray:
    """(3, h, w) components as an (H, W, 3) image."""
    large = F.interpolate(components[None], size, mode='bicubic', align_corners=False)
    colors = (large[0].clamp(0, 1) * 255).round().byte()
    return colors.permute(1, 2, 0).contiguous().numpy()


def _lines(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines of a text that fit; a line too long loses its beginning."""
    return [truncate_left(line, font, width) for line in text.split('\n')]

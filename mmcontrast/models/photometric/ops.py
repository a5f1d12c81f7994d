"""Implement photometric operations on tensors, with the same pixels as Pillow.

Each function takes M views (M, 3, H, W), float32 holding whole gray levels, and one
value per view, (M, 1, 1, 1); it returns gray levels to be truncated, as Pillow does
when it stores them. No function synchronizes with the host.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# Box filters along each axis by which Pillow approximates a Gaussian.
BOXES = 3


def blend(flat: Tensor, views: Tensor, factor: Tensor) -> Tensor:
    """Extrapolate from ``flat`` (factor 0) through the views (factor 1), clipped."""
    return flat.add((views - flat).mul_(factor)).clamp_(0, 255)


def luma(views: Tensor) -> Tensor:
    """(M, 1, H, W) whole gray levels, from Pillow's 16-bit weights of ITU-R 601."""
    red, green, blue = views.split(1, 1)
    # Every sum is a whole number below 2^24: float32 holds it exactly.
    return (red * 19595).add_(green * 38470).add_(blue * 7471).add_(
        0x8000).div_(0x10000).floor_()


def brightness(views: Tensor, factor: Tensor) -> Tensor:
    """Scale, towards black or away from it."""
    return (views * factor).clamp_(max=255)


def contrast(views: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean luma of the view."""
    mean = luma(views).mean((2, 3), keepdim=True).add_(0.5).floor_()
    return blend(mean, views, factor)


def saturation(views: Tensor, factor: Tensor) -> Tensor:
    """Blend with the gray view."""
    return blend(luma(views), views, factor)


def grayscale(views: Tensor, _: Tensor) -> Tensor:
    """Luma in all three channels."""
    return luma(views).expand_as(views)


def solarize(views: Tensor, threshold: Tensor) -> Tensor:
    """Invert levels from ``threshold`` on."""
    return torch.where(views < threshold, views, 255 - views)


def hue(views: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue, through Pillow's 8-bit HSV."""
    red, green, _ = views.split(1, 1)
    value = views.amax(1, keepdim=True)
    chroma = value - views.amin(1, keepdim=True)
    # On gray, hue and saturation are 0 whatever they are divided by.
    gaps = (value - views).div_(chroma.clamp(min=1))
    # Rounded to float32 where Pillow rounds: it decides how hues become 8 bits.
    to_red, to_green, to_blue = gaps.double().split(1, 1)
    angle = torch.where(
        red == value, to_blue - to_green, torch.where(
            green == value, to_red - to_blue + 2, to_green - to_red + 4)).float()
    angle = angle.double().div_(6).add_(1).remainder_(1).float()
    level = angle.double().mul_(255).floor_().float()
    level = level.add_((turns * 255).trunc_()).remainder_(256).mul_(6 / 255)
    drop = (chroma * 255).div_(value.clamp(min=1)).floor_().div_(255).mul_(value)
    start = torch.arange(5, 0, -2, device=views.device).view(3, 1, 1)
    sector = (level + start).remainder_(6)
    return value - drop * torch.minimum(sector, 4 - sector).clamp_(0, 1) + 0.5


def blur(views: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Pillow's Gaussian blur: box filters along the rows, then along the columns.

    Args:
        reach: At least the largest radius of a box, rounded up to whole pixels.
    """
    radius = box_radius(sigma.double()).float()
    whole = radius.floor()
    inner = 1 / (2 * radius + 1)
    edge = (1 - (2 * whole + 1) * inner) / 2
    weights = [torch.where(k <= whole, inner, edge * (k <= whole + 1))
               for k in range(reach + 1)]
    for axis in (3, 2):
        for _ in range(BOXES):
            views = _box(views, weights, axis)
    return views


def _box(views: Tensor, weights: list[Tensor], axis: int) -> Tensor:
    """One symmetric filter along ``axis``, with replicated borders."""
    reach, size = len(weights) - 1, views.shape[axis]
    sides = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    padded = F.pad(views, sides, mode='replicate')
    out = padded.narrow(axis, reach, size) * weights[0]
    for k in range(1, reach + 1):
        pair = padded.narrow(axis, reach - k, size) + padded.narrow(
            axis, reach + k, size)
        out.addcmul_(pair, weights[k])
    # Pillow truncates its fixed-point weights, so most ties round down.
    return out.add_(0.4999).floor_()


def box_radius(sigma: Tensor | float) -> Tensor | float:
    """Radius of Pillow's box filters for a standard deviation, both in pixels.

    Source: "Theoretical foundations of Gaussian convolution by extended box
    filtering" (Gwosdek et al., SSVM 2011), equations 7, 11 and 14.
    """
    square = sigma ** 2 / BOXES
    whole = ((12 * square + 1) ** 0.5 - 1) // 2
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * square) / (
        6 * (square - (whole + 1) ** 2))
    return whole + part

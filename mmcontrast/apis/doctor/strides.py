"""Compare the strides of feature maps with those that a detector assumes."""
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ...engine.distributed.unwrap import unwrap_model
from .report import Report

# Side of the test image: the maps of stride 128 still have 4 cells.
_SIDE = 512


def check_feature_strides(report: Report, model: nn.Module) -> None:
    """Report heads whose anchors, points or regions assume other feature maps.

    A backbone whose last stage does not stride, as for segmentation, fits the weights
    of any other, and a detector trains with it: its anchors then lie beside the cells
    that predict them.
    """
    model = unwrap_model(model)
    assumed = list(_assumed_strides(model))
    if not assumed or not hasattr(model, 'extract_feat'):
        return
    found = _strides(model)
    if not found:
        return
    fine = True
    for name, what, strides in dict.fromkeys(assumed):
        # Sizes are rounded, and the smallest maps depend on the size of the image
        # (SSD's are 3 and 1 of 300 pixels).
        if any(not 0.7 < one / other < 1.4 for one, other in zip(
                strides, found, strict=False) if other <= _SIDE / 5):
            fine = False
            report.warn(
                f'model.{name}: {what} assumes feature maps of strides '
                f'{_list(strides)}, but they have {_list(found)}: boxes lie '
                'beside the cells that predict them. Leave out strides and dilations '
                f'of model.backbone (weights fit all the same), or set {what} to the '
                'strides of the maps.')
    if fine:
        report.ok(f'feature maps of strides {_list(found)} fit '
                  f'{", ".join(dict.fromkeys(name for name, _, _ in assumed))}')


def _assumed_strides(model: nn.Module) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Module, setting, and strides of the maps in the order of the neck's outputs."""
    for name, module in model.named_modules():
        strides = getattr(getattr(module, 'prior_generator', None), 'strides', None)
        if strides:
            yield name, 'prior_generator.strides', tuple(
                min(s) if isinstance(s, list | tuple) else s for s in strides)
        # Others, such as HTC's of semantic features, read maps of their own.
        parts = name.split('.')
        if 'bbox_roi_extractor' in parts or 'mask_roi_extractor' in parts:
            strides = getattr(module, 'featmap_strides', None)
            if strides:
                # One entry for all stages of a cascade.
                yield name.rstrip('.0123456789'), 'featmap_strides', tuple(strides)


@torch.no_grad()
def _strides(model: nn.Module) -> list[float]:
    """Strides of the maps that the heads get; empty if a plain image is not enough."""
    training = model.training
    device = next(model.parameters()).device
    try:
        maps = model.eval().extract_feat(torch.zeros(1, 3, _SIDE, _SIDE, device=device))
        return [_SIDE / one.shape[-1] for one in maps]
    except Exception:
        return []  # Some extractors read more than an image.
    finally:
        model.train(training)


def _list(strides: Sequence[float]) -> str:
    return ', '.join(f'{stride:.3g}' for stride in strides)

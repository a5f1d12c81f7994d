"""Draw where in an image each class text matches: sheets of score maps."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from ...errors import UserValueError
from ...io.folders import save_output_image
from ...structures.protocols import MatchesRegions, MatchesText
from ...visualization.heat_maps import Regions, score_map_sheet
from ..inferencers import open_inferencer
from ..inferencers.images import (
    InputImage,
    iterate_batches,
    list_images,
    skipped_sentence,
)
from ..inferencers.results import output_stems, refuse_overwriting

# IoU from which on two regions of a text are one, as in suppression of detections.
MAX_OVERLAP = 0.5


@dataclass(frozen=True)
class ScoreSheets:
    """What :func:`score_maps` wrote.

    Attributes:
        files: A sheet an image.
        skipped: A sentence for each image that could not be read.
    """

    files: list[Path]
    skipped: list[str]

    def summary(self) -> str:
        """For the terminal."""
        notes = [skipped_sentence(self.skipped, len(self.skipped) + len(self.files))
                 ] if self.skipped else []
        shown = [f'Wrote {path}' for path in self.files[:5]]
        more = len(self.files) - len(shown)
        return '\n'.join([*notes, *shown, *[f'... and {more} more'] * (more > 0)])


def score_maps(config: str, checkpoint: str, images: Sequence[str],
               out: str = 'work_dirs/score_maps', classes: str | None = None,
               device: str | None = None, regions: int = 0,
               limits: Sequence[float] | None = None, batch_size: int = 4,
               workers: int = 2, cfg_options: dict | None = None,
               progress: bool = True) -> ScoreSheets:
    """Draw the score map of each class text over each image.

    The cosines are those that the model computes, with text embeddings refined by the
    image, on the whole image at its test size.

    Args:
        config: Config of a model with score maps, such as DenseCLIP.
        checkpoint: Its weights.
        images: Image files and folders of them.
        out: Folder for the sheets, ``NAME.jpg``.
        classes: Class texts: ``'sky;tree;a red car'``, a text file or a dataset's
            name, any number of them; those of the training if None.
        device: 'cpu', 'cuda:1', ...; a GPU if there is one if None.
        regions: Also draw the regions that match each text best, so many of them, with
            their cosines; for detectors that compare regions with texts.
        limits: Cosines of the darkest and the brightest color, to compare sheets; if
            None each sheet spans its own range.
        batch_size: Maximum number of images to pass at a time.
        workers: Processes that read images, where there are many.
        cfg_options: Overrides of the config, dotted keys.
        progress: Show a bar where there are several images.

    Raises:
        FileNotFoundError: If a file is missing or a folder holds no image.
        ValueError: If no image can be read, config, checkpoint or texts cannot be
            used, or a number is out of range.
    """
    if batch_size < 1 or (limits is not None and not limits[0] < limits[1]):
        raise ValueError('batch_size must be 1 or more, and the lower limit lie below '
                         f'the upper one; got {batch_size} and {limits}.')
    sources = list_images(list(images))
    inferencer = open_inferencer(config, checkpoint, device, cfg_options)
    model = inferencer.model
    _check(config, model, regions)
    if classes is not None:
        model.class_texts.set_vocabulary(classes)
    texts = model.class_texts.class_names
    stems = output_stems([source.name for source in sources])
    refuse_overwriting((Path(out) / f'{stem}.jpg' for stem in stems),
                       [source.image for source in sources])
    files, skipped = [], []
    for batch in iterate_batches(inferencer.inputs(sources), batch_size, workers,
                                 progress, skipped):
        found, shares = match_images(model, batch)
        matched = match_regions(model, batch, regions)
        for item, scores, covered, best in zip(
                batch, found, shares, matched, strict=True):
            files.append(Path(out) / f'{stems[item.index]}.jpg')
            save_output_image(score_map_sheet(
                item.image, scores, texts, sources[item.index].name, covered,
                limits and tuple(limits), best), files[-1], quality=92)
    return ScoreSheets(files, skipped)


def _check(config: str, model: nn.Module, regions: int) -> None:
    if regions < 0 or (regions and not isinstance(model, MatchesRegions)):
        raise UserValueError(
            f'regions={regions}: expected 0 or more, and above 0 a detector that '
            f'compares regions with texts, such as DITO; {config} holds a '
            f'{type(model).__name__}.')
    if not isinstance(model, MatchesText):
        raise UserValueError(
            f'{config}: {type(model).__name__} reads no class texts; name the config '
            'of a DenseCLIP segmentor or detector, or of DITO: configs/denseclip and '
            'configs/dito.')


@torch.no_grad()
def match_images(model: nn.Module, batch: Sequence[InputImage]
                 ) -> tuple[Tensor, list[tuple[float, float]]]:
    """(B, K, h, w) cosines of images with the current class texts.

    Returns:
        The maps, and for each the share of its height and width that shows the image;
        the rest is padding of the pipeline or of the preprocessor.
    """
    inputs = _preprocessed(model, batch)['inputs']
    shares = [tuple(own / padded for own, padded in zip(
        _shown(item), inputs.shape[-2:], strict=True)) for item in batch]
    return model.score_map(inputs), shares


@torch.no_grad()
def match_regions(model: nn.Module, batch: Sequence[InputImage], count: int
                  ) -> list[list[Regions] | None]:
    """The regions of each image that match each text best; None for a count of 0.

    No two of them overlap by an IoU above :data:`MAX_OVERLAP`.
    """
    if not count:
        return [None] * len(batch)
    data = _preprocessed(model, batch)
    found = model.match_regions(data['inputs'], data['data_samples'])
    best = []
    for item, regions in zip(batch, found, strict=True):
        height, width = _shown(item)
        boxes = regions.bboxes / regions.bboxes.new_tensor([width, height] * 2)
        best.append([_best_regions(boxes, cosines, count)
                     for cosines in regions.cosines.T])
    return best


def _best_regions(boxes: Tensor, cosines: Tensor, count: int) -> Regions:
    """Many proposals lie on one object: boxes that a better one overlaps are left out.
    """
    kept = nms(boxes, cosines, MAX_OVERLAP)[:count]
    return boxes[kept].cpu().numpy(), cosines[kept].cpu().numpy()


def _shown(item: InputImage) -> tuple[int, int]:
    """Height and width of what an input shows of its image, without padding."""
    size = item.inputs.shape[-2:]
    shape = item.sample.metainfo.get('img_shape', size)
    return tuple(min(*sides) for sides in zip(shape[:2], size, strict=True))


def _preprocessed(model: nn.Module, batch: Sequence[InputImage]) -> dict:
    return model.data_preprocessor(dict(
        inputs=[item.inputs for item in batch],
        data_samples=[item.sample for item in batch]), False)

"""Draw the feature maps of a backbone, beside random weights or another one."""
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ...datasets.bad_images import BadImage
from ...datasets.image_files import read_image
from ...datasets.image_lists import list_folder
from ...evaluation.features import IMAGENET_MEAN, IMAGENET_STD, network_input
from ...io.folders import save_output_image
from ...io.text_files import display_name
from ...visualization.pca import draw_feature_maps, feature_pca_maps
from ..config import load_config
from ..loading import has_baseline, load_backbone


def feature_map_sheet(config: str, checkpoint: str, images: Sequence[str],
                      out: str = 'work_dirs/feature_maps.png', out_index: int = -1,
                      size: int = 448, max_images: int = 8,
                      baseline: str | None = None, beside: str | None = None,
                      prefix: str | None = None, seed: int = 0, device: str = 'cpu'
                      ) -> tuple[Path, list[str]]:
    """Draw images beside the colors of their features.

    Args:
        config: Config whose ``model.backbone`` is built, of mmcontrast, mmdet, mmseg or
            mmpretrain, as a file or ``mmpretrain::...``.
        checkpoint: Weights: a checkpoint of training, or an exported backbone.
        images: Image files and folders of them; of many, ``max_images`` are taken,
            evenly spread.
        out: The image file to write.
        out_index: Which map of the backbone.
        size: Short side the images are resized to. Larger images give finer maps.
        baseline: 'random' adds a column with random weights, drawn with ``seed``.
        beside: Another checkpoint of the same backbone to add as a column.
        prefix: Prefix of the backbone's keys in ``checkpoint``, such as
            ``momentum.backbone.``; found by itself if None.

    Returns:
        The path, and sentences on weights that did not fit and images left out.

    Raises:
        FileNotFoundError: If a file or all images are missing.
        KeyError: If no weight fits the backbone.
        ValueError: If ``baseline`` is something else.
    """
    beside_random = has_baseline(baseline)
    shown, names, bad = [], [], []
    for path in find_images(images, max_images):
        try:
            shown.append(read_image(path))
            names.append(Path(path).name)
        except BadImage as error:
            bad.append(error)
    if not shown:
        raise bad[0]
    cfg = load_config(config)
    mean, std = normalization(cfg)
    inputs = [network_input(image, size).to(device) for image in shown]
    columns, notes = {}, [f'Left out: {error}' for error in bad]
    for title, path in _sources(checkpoint, beside, beside_random):
        backbone, note = load_backbone(cfg, path, prefix, seed)
        notes += [note] if note else []
        found = feature_pca_maps(backbone.to(device), inputs, out_index, mean, std)
        share = f'{found.variance_share:.0%} of variance shown'
        columns[f'{title}\n{share}'] = found.maps
    out = Path(out)
    save_output_image(draw_feature_maps(shown, list(map(display_name, names)), columns),
                      out)
    return out, notes


def find_images(images: Sequence[str], max_images: int | None = None) -> list[str]:
    """Image files among files and folders, at most so many (or all), evenly spread."""
    paths = []
    for path in images:
        if Path(path).is_dir():
            paths += [item['img_path'] for item in list_folder(str(path))[0]]
        elif Path(path).is_file():
            paths.append(str(path))
        else:
            raise FileNotFoundError(f'{path}: no such image or folder of images.')
    if max_images is None:
        return paths
    if max_images < 1:
        raise ValueError(f'max_images must be 1 or more, got {max_images}.')
    step = max(1.0, len(paths) / max_images)
    return [paths[int(i * step)] for i in range(min(len(paths), max_images))]


def _sources(checkpoint: str, beside: str | None, beside_random: bool
             ) -> list[tuple[str, str | None]]:
    """Titles and files of the columns; None stands for random weights."""
    sources: list = [(Path(checkpoint).name, checkpoint)]
    if beside:
        same = Path(beside).name == Path(checkpoint).name
        sources.append((beside if same else Path(beside).name, beside))
    return sources + [('random weights', None)] * beside_random


def normalization(cfg: Config) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std that the config trains with, for RGB."""
    preprocessor = cfg.get('data_preprocessor') or {}
    preprocessor = cfg.model.get('data_preprocessor') or preprocessor
    return (preprocessor.get('mean') or IMAGENET_MEAN,
            preprocessor.get('std') or IMAGENET_STD)

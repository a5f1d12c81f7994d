"""Draw the views that a two-view config feeds its method."""
import random
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from PIL import Image

from ...datasets.transforms import LoadImage
from ...io.config_types import type_name
from ...io.folders import save_output_image
from ...registry import DATASETS, FUNCTIONS, MODELS, TRANSFORMS, default_scope
from ...visualization.correspondence import (
    draw_correspondence,
    draw_crops,
    side_by_side,
)
from ..config import UsageError, load_config


def browse_views(config: str, num: int = 8, out: str | None = None,
                 cfg_options: dict | None = None, seed: int = 0,
                 map_size: tuple[int, int] | None = None) -> list[Path]:
    """Draw the crops, the two views and their matched pixels for some images.

    Views are drawn as the network sees them, colors of the preprocessor included.
    Pixels are the cells of the backbone's last map, pairs follow PixPro's rule, both
    as the config says. A cell often has several pairs; its line goes to the one
    closest in the source image. Images are picked, and views drawn, by ``seed`` alone.

    Args:
        config: Config file of a two-view method, or ``mmcontrast::...``.
        num: Number of images.
        out: Folder for them; ``<work dir of the config>/views`` by default.
        cfg_options: Overrides, dotted keys.
        map_size: (rows, columns) of the map; asked from the backbone by default.

    Returns:
        The files written, ``<number>_<name of the image>.png``.

    Raises:
        UsageError: If the config has no two-view pipeline.
    """
    if num < 1:
        raise UsageError(f'The number of images must be at least 1, got {num}.')
    cfg = load_config(config, cfg_options)
    with default_scope(cfg, 'mmcontrast'):
        dataset, two_views, rest = _split_at_two_views(cfg)
        preprocess = _preprocessor(cfg)
        map_size = map_size or _map_size(cfg, two_views.size)
    pos_ratio = cfg.model.get('loss', {}).get('pos_ratio', 0.7)
    folder = Path(out or Path(cfg.work_dir) / 'views')
    folder.mkdir(parents=True, exist_ok=True)
    _seed(seed)
    picks = random.sample(range(len(dataset)), min(num, len(dataset)))
    files = []
    for number, idx in enumerate(picks):
        results = dataset[idx]
        name = Path(results['img_path']).stem
        source = results.pop('source')
        for step in (two_views, *rest):
            results = step(results)
        views = results['data_samples'].views
        sheet = _draw(source, _seen(results, preprocess), views, map_size, pos_ratio)
        files.append(folder / f'{number:02}_{name}.png')
        save_output_image(sheet, files[-1])
    return files


def _seen(results: dict, preprocess) -> list[Image.Image]:
    """The two views behind the preprocessor, back in gray levels."""
    if preprocess is None:
        return [_to_image(view) for view in results['inputs']]
    batch = preprocess(default_collate([results]), training=True)
    return [_to_image(view[0] * preprocess.std + preprocess.mean)
            for view in batch['inputs']]


def _to_image(view: torch.Tensor) -> Image.Image:
    view = view.round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(view.permute(1, 2, 0).contiguous().numpy())


def _draw(source: Image.Image, images: list[Image.Image], views,
          map_size: tuple[int, int], pos_ratio: float) -> Image.Image:
    pairs = _pairs(views, map_size, pos_ratio)
    lines = _nearest(pairs, views, map_size)
    first, second = (_cell_centers(image, map_size)[cells]
                     for image, cells in zip(images, lines, strict=True))
    mirrored = [' (mirrored)' if view.flipped else '' for view in views]
    rows, cols = map_size
    return side_by_side(
        [draw_crops(source, [(v.left, v.top, v.right, v.bottom) for v in views]),
         draw_correspondence(*images, first, second)],
        [f'source {source.width} x {source.height}',
         f'view 1{mirrored[0]} and view 2{mirrored[1]}: {pairs.sum()} pairs on '
         f'{rows} x {cols} cells, a line to the nearest of each'])


def _pairs(views, map_size: tuple[int, int], pos_ratio: float) -> np.ndarray:
    """(A, B) bool, the positive pairs of the cells of view 1 and view 2."""
    return FUNCTIONS.get('cell_pairs')(views, map_size, pos_ratio).numpy()


def _nearest(pairs: np.ndarray, views, map_size: tuple[int, int]
             ) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell of view 1 that has pairs, the one closest in the source image."""
    centers = [view.grid(*map_size).flatten(0, 1) for view in views]
    distance = torch.cdist(*centers).numpy()
    distance[~pairs] = np.inf
    cells = pairs.any(1).nonzero()[0]
    return cells, distance[cells].argmin(1)


def _cell_centers(image: Image.Image, map_size: tuple[int, int]) -> np.ndarray:
    """(rows * cols, 2) centers of the cells of a view, in its own pixels."""
    rows, cols = map_size
    x, y = np.meshgrid((np.arange(cols) + 0.5) * image.width / cols,
                       (np.arange(rows) + 0.5) * image.height / rows)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _split_at_two_views(cfg: Config):
    """The data set with the whole images, the transform of views, what follows."""
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:  # RepeatDataset and the like
        dataset = dataset.dataset
    pipeline = dataset.get('pipeline', [])
    names = [type_name(step) for step in pipeline]
    at = [k for k, name in enumerate(names) if name in ('TwoViews', 'FastTwoViews')]
    if not at:
        raise UsageError(
            f'{cfg.filename}: no TwoViews in train_dataloader.dataset.pipeline, so '
            'there are no views to draw; name the config of a two-view method.')
    build = TRANSFORMS.build
    load = LoadImage(pipeline[at[0]].get('backend_args'))

    def with_source(results: dict) -> dict:
        return results | dict(source=load(dict(results))['img'])
    return (DATASETS.build(dict(dataset, pipeline=[*pipeline[:at[0]], with_source])),
            build(pipeline[at[0]]), [build(step) for step in pipeline[at[0] + 1:]])


def _preprocessor(cfg: Config):
    """What the model does to a batch first; None if it is not one of ours."""
    settings = cfg.get('model', {}).get('data_preprocessor') or {}
    ours = type_name(settings) == 'TwoViewPreprocessor'
    return MODELS.build(settings) if ours else None


@torch.no_grad()
def _map_size(cfg: Config, view_size: tuple[int, int]) -> tuple[int, int]:
    if 'backbone' not in cfg.get('model', {}):
        raise UsageError(
            f'{cfg.filename}: the config has no model.backbone, so the size of its '
            'map is unknown; give --map-size ROWS COLS.')
    backbone = MODELS.build(cfg.model.backbone)
    backbone.eval()  # mmpretrain's backbones do not return themselves
    maps = backbone(torch.zeros(1, 3, *view_size))
    return tuple((maps if isinstance(maps, torch.Tensor) else maps[-1]).shape[-2:])


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

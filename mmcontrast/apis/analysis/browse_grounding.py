"""Draw what a config trains or evaluates phrases on."""
import random
from pathlib import Path

from ...io.folders import save_output_image
from ...registry import DATASETS, default_scope
from ...visualization.grounding_samples import draw_annotated
from ..config import UsageError, load_config

SPLITS = ('train', 'val', 'test')
# Rows of a sheet: of 390 pixels at most.
_MOST = 100


def browse_grounding(config: str, split: str = 'train', num: int = 12,
                     out: str | None = None, cfg_options: dict | None = None,
                     seed: int = 0) -> Path:
    """Draw some samples of phrases, each with its objects and its mask.

    Samples are those behind the pipeline of the config, drawn in the shape of the
    original image. They are picked by ``seed`` alone.

    Args:
        config: Config file, or ``mmcontrast::...``, of a model that grounds phrases.
        split: ``train``, ``val`` or ``test``: whose ``..._dataloader`` is drawn.
        num: Number of samples, 1 to 100.
        out: Image file; ``<work dir of the config>/phrases_SPLIT.png`` by default.
        cfg_options: Overrides, dotted keys.

    Returns:
        The file written.

    Raises:
        UsageError: If the config has no such data set, or one without phrases.
    """
    if split not in SPLITS:
        raise UsageError(f'The split must be one of {", ".join(SPLITS)}, got {split}.')
    if not 1 <= num <= _MOST:
        raise UsageError(f'The number of samples must be 1 to {_MOST}, got {num}.')
    cfg = load_config(config, cfg_options)
    settings = cfg.get(f'{split}_dataloader')
    if not settings:
        raise UsageError(f'{cfg.filename} has no {split}_dataloader.')
    with default_scope(cfg, 'mmcontrast'):
        dataset = DATASETS.build(settings.dataset)
    random.seed(seed)
    picks = random.sample(range(len(dataset)), min(num, len(dataset)))
    items = [dataset[idx] for idx in picks]
    for item in items:
        sample = item.get('data_samples')
        if 'referred' not in getattr(sample, 'gt_instances', ()):
            raise UsageError(
                f'{cfg.filename}: the {split} data set gives no phrases with objects, '
                'such as GroundingDataset with LoadGroundingAnnotations and '
                'PackGrounding.')
    path = Path(out or Path(cfg.work_dir) / f'phrases_{split}.png')
    path.parent.mkdir(parents=True, exist_ok=True)
    save_output_image(draw_annotated(
        [item['inputs'] for item in items], [item['data_samples'] for item in items],
        f'{len(items)} of {len(dataset)} samples of {split}'), path)
    return path

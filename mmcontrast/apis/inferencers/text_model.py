"""A model that reads class texts, with the weights of a file, ready to be asked."""
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from ...engine.hooks.class_texts import check_class_texts
from ...io.checkpoint import check_matching_keys, find_state_dict, read_checkpoint
from ...registry import DATASETS, MODELS, UnknownTypeError
from ...visualization.label_maps import label_colors
from ..analysis.feature_maps import without_init_log
from ..config import existing_file, load_config

_WANTED = ('name the config of a DenseCLIP segmentor or detector, such as '
           'denseclip-*.py of configs/denseclip.')


@dataclass(frozen=True)
class TextModel:
    """What :func:`load_text_model` built.

    Attributes:
        model: A DenseCLIP in eval mode.
        config: The config it was built from.
        palette: (K, 3) uint8 RGB colors of the trained classes, None if neither file
            has any.
    """

    model: nn.Module
    config: Config
    palette: np.ndarray | None

    @property
    def detects(self) -> bool:
        """Whether it gives boxes instead of a label map."""
        return not hasattr(self.model, 'decode_head')

    @property
    def scope(self) -> str:
        """Where names in the config's pipeline are looked up."""
        return self.config.get('default_scope') or (
            'mmdet' if self.detects else 'mmseg')

    def colors(self) -> np.ndarray:
        """(K, 3) uint8 RGB colors of the classes as they are set."""
        count = len(self.model.class_names)
        if self.model.names_are_trained and self.palette is not None:
            return self.palette
        return label_colors({i: i for i in range(count)}, count)


def load_text_model(config: str, checkpoint: str, device: str | None = None,
                    cfg_options: dict | None = None) -> TextModel:
    """Build the DenseCLIP of a config with the weights of a checkpoint.

    Nothing else is read: neither the pretrained weights that training starts from nor
    a data set. The checkpoint is read as data only.

    Args:
        config: Config of a DenseCLIP segmentor or detector, a file or
            ``mmcontrast::...``.
        checkpoint: A checkpoint of its training, or a converted released one.
        device: 'cpu', 'cuda:1', ...; None for a GPU if there is one.
        cfg_options: Overrides, dotted keys.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the config has no such model, the weights do not fit it, or the
            device is not there.
    """
    cfg = load_config(config, cfg_options)
    path = existing_file(checkpoint, 'checkpoint')
    where = _device(device)
    model = _build(cfg)
    weights = read_checkpoint(path)
    check_class_texts(model, weights, checkpoint)
    _load(model, find_state_dict(weights, path), checkpoint, config)
    model = revert_sync_batchnorm(model).to(where).eval()
    return TextModel(model, cfg, _palette(cfg, weights, len(model.class_names)))


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or get_device())
    except RuntimeError as error:
        raise ValueError(f"device {name!r}: expected 'cpu', 'cuda' or 'cuda:1'; "
                         f'{str(error).splitlines()[0]}') from None
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f'device {name!r} is not there: PyTorch sees '
                         f"{torch.cuda.device_count()} GPUs here. 'cpu' always works.")
    return device


def _build(cfg: Config) -> nn.Module:
    model_cfg = deepcopy(cfg.get('model') or {})
    if not model_cfg:
        raise ValueError(f'{cfg.filename} has no model; {_WANTED}')
    model_cfg.pop('pretrained', None)
    scope = cfg.get('default_scope') or 'mmcontrast'
    with without_init_log(), DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(model_cfg)
    if not hasattr(model, 'match_text'):
        raise ValueError(f'{cfg.filename}: {type(model).__name__} reads no class '
                         f'texts; {_WANTED}')
    return model


def _load(model: nn.Module, weights: dict, checkpoint: str, config: str) -> None:
    """Load all weights; what the file has beyond the model's is nobody's loss."""
    note = check_matching_keys(weights, model, checkpoint)
    # Says in terms of class names which shapes do not fit.
    missing, _ = model.load_state_dict(weights, strict=False)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    if missing:
        raise ValueError(
            f'{note} {config} needs all of its weights; missing are '
            f'{", ".join(missing[:3])}{", ..." * (len(missing) > 3)}. Name the config '
            'that the checkpoint was trained with.')


def _palette(cfg: Config, checkpoint: dict, count: int) -> np.ndarray | None:
    """Colors of the data set: of the checkpoint, the config, or its class."""
    dataset = tested_dataset(cfg)
    sources = [(checkpoint.get('meta') or {}).get('dataset_meta'),
               dataset.get('metainfo')]
    if dataset.get('type'):
        try:
            scope = cfg.get('default_scope') or 'mmcontrast'
            with DATASETS.switch_scope_and_registry(scope) as registry:
                sources.append(registry.get(dataset['type']).METAINFO)
        except (UnknownTypeError, AttributeError, KeyError):
            pass  # colors of our own, then
    for source in sources:
        palette = (source or {}).get('palette')
        if palette is not None and np.shape(palette) == (count, 3):
            return np.asarray(palette, np.uint8)
    return None


def tested_dataset(cfg: Config) -> dict:
    """Config of the data set that the config tests on, out of its wrappers."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset

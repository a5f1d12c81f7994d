"""Export a trained CLIP under OpenAI's names, for open_clip and other readers."""
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...converters.equality import verify_outputs
from ...converters.report import KeyReport
from ...io.atomic import write_text
from ...io.config_types import type_name
from ...models.clip_weights import open_clip
from ...models.text import tokenize
from ..config import load_config
from ..loading import build_model, read_weights
from .export_backbone import input_format, load_exactly
from .weight_files import provenance, write_weights

SUFFIXES = ('.safetensors', '.pt', '.pth')
PREFIX = 'clip.'
USAGE = """\
Load it with
  open_clip.add_model_config('{json}')
  open_clip.create_model('{name}', pretrained='{path}')
  # or in a config: init_cfg=dict(type='CLIPPretrained', checkpoint='{path}')"""


def export_clip(config: str, checkpoint: str | Path, dst: str | Path) -> KeyReport:
    """Write the weights of a ``CLIP`` under OpenAI's names, and its sizes beside them.

    Args:
        config: Config that it was trained with.
        checkpoint: A checkpoint of that training.
        dst: ``.safetensors``, ``.pt`` or ``.pth``: the weights alone. A ``.json`` of
            the same name becomes their model config of open_clip.

    Returns:
        What each key was converted to; the last lines say how to load the files.

    Raises:
        ValueError: If ``dst`` ends otherwise, the config has no ``CLIP``, checkpoint
            and config do not fit, or open_clip's model gives other outputs.
    """
    dst = Path(dst)
    if dst.suffix not in SUFFIXES:
        raise ValueError(f'DST must end in {", ".join(SUFFIXES)}, got {dst}.')
    cfg = load_config(config)
    model = _build(cfg, config)
    weights = read_weights(checkpoint)
    load_exactly(model, weights, checkpoint, f'the model of {config}')
    state = {key.removeprefix(PREFIX): value for key, value in weights.items()}
    report = KeyReport(f'{Path(checkpoint).name}, CLIP -> open_clip', [
        (key, key.removeprefix(PREFIX), tuple(value.shape))
        for key, value in weights.items()])
    architecture = cfg.model.architecture.to_dict()
    report.checks += _verify(model, state, architecture)
    write_weights(state, dst, meta=dict(
        provenance(checkpoint), exported_from=Path(checkpoint).name,
        **input_format(cfg)))
    sizes = dst.with_suffix('.json')
    write_text(sizes, json.dumps(architecture, indent=4))
    report.checks.append(USAGE.format(json=sizes, name=dst.stem, path=dst))
    return report


def _build(cfg: Config, path: str) -> nn.Module:
    name = type_name(cfg.get('model', {}))
    if name != 'CLIP':
        raise ValueError(
            f"{path}: the model is {name or None!r}, expected "
            "'CLIP'; name the config of a CLIP, such as one of configs/clip.")
    return build_model(cfg).eval()


def _verify(model: nn.Module, state: dict[str, Tensor], architecture: dict
            ) -> list[str]:
    """Verify that open_clip's model encodes images and texts as ours does."""
    theirs = open_clip().model.CLIP(**architecture).eval()
    size = architecture['vision_cfg']['image_size']
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    texts = ['a striped red star', 'the sky']
    tokens = tokenize(texts, theirs.context_length)

    def run(given: Mapping[str, Tensor]) -> tuple[dict, dict]:
        theirs.load_state_dict(given)
        model.load_state_dict({PREFIX + key: value for key, value in given.items()})
        return (dict(images=model.encode_images(images),
                     texts=model.encode_texts(texts)),
                dict(images=theirs.encode_image(images, normalize=True),
                     texts=theirs.encode_text(tokens, normalize=True)))
    return verify_outputs(state, run)

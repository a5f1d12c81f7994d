"""Load ViTs of CLIP and timm into a ViT without a class token."""
import torch
from torch import Tensor, nn

from ...errors import UserValueError
from ..timm_weights import to_clip_names
from .loading import ClipLoadReport, load_tower

# All towers of open_clip that OpenAI's names fit.
CLIP_EPS = 1e-5


def load_clip(vit: nn.Module, state: dict[str, Tensor]) -> ClipLoadReport:
    """Load CLIP's image tower into a :class:`~.plain_vit.PlainViT`.

    The class token and its position row are left out, positions are resized to the
    table, a missing bias of the patch embedding becomes zero, the projection is used
    with ``with_projection``.

    Args:
        vit: Its options must be those of the tower.
        state: From :func:`~mmcontrast.models.load_clip_state`.

    Raises:
        ValueError: If an option or a size does not fit, or a key has no place.
    """
    if vit.norm_eps != CLIP_EPS:
        raise ValueError(
            f'{type(vit).__name__}.load_clip: CLIP was trained with norm_eps='
            f'{CLIP_EPS}, not {vit.norm_eps}: set norm_eps={CLIP_EPS}.')
    return _load(vit, state, 'CLIP', ('class_embedding',))


def load_timm(vit: nn.Module, state: dict[str, Tensor]) -> ClipLoadReport:
    """Load a ViT of timm into a :class:`~.plain_vit.PlainViT`.

    As :func:`load_clip`; the classifier, attention pool, class and register tokens are
    left out too.

    Args:
        vit: With timm's ``norm_eps``, 1e-6 for most, and ``activation``.
        state: With timm's key names.
    """
    unused = ('class_embedding', 'reg_token', 'head.*', 'attn_pool.*')
    return _load(vit, to_clip_names(state), 'timm', unused)


def _load(vit: nn.Module, state: dict[str, Tensor], library: str, unused: tuple
          ) -> ClipLoadReport:
    name = f'{type(vit).__name__}.load_{library.lower()}'
    if vit.conv_stem:
        raise UserValueError(
            f'{name}: the weights embed patches with one linear map, conv_stem=True '
            'with convolutions. Leave conv_stem out to use them.')
    has_pre_norm = 'visual.ln_pre.weight' in state
    if has_pre_norm != vit.pre_norm:
        raise ValueError(
            f'{name}: the weights {"have a" if has_pre_norm else "have no"} layer norm '
            f'before the blocks: set pre_norm={has_pre_norm}.')
    if 'visual.conv1.bias' in state and not vit.patch_bias:
        raise ValueError(f'{name}: the weights have a bias in the patch embedding: set '
                         'patch_bias=True.')
    if vit.patch_bias:
        state = {'visual.conv1.bias': torch.zeros(vit.width), **state}
    skipped = [*unused]
    if not vit.final_norm:
        skipped.append('ln_post.*')
    if not vit.with_projection:
        skipped.append('proj')
    built = len(vit.transformer.resblocks)
    skipped += [f'transformer.resblocks.{i}.*'
                for i in range(built, len(vit.windows))]
    return load_tower(vit, state, may_skip=skipped, library=library)

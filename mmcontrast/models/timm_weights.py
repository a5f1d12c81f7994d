"""Load ViT weights of timm from a file, or from timm by model name."""
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from torch import Tensor, nn

from ..errors import UserKeyError, did_you_mean
from ..io.checkpoint import count_prefixes, find_state_dict, read_checkpoint
from ..registry import WEIGHT_INITIALIZERS
from .clip_weights import FILE_SUFFIXES

# Key of timm -> key of an open_clip image tower.
NAMES = (
    (r'patch_embed\.proj\.', 'conv1.'), (r'cls_token$', 'class_embedding'),
    (r'pos_embed$', 'positional_embedding'), (r'norm_pre\.', 'ln_pre.'),
    (r'(fc_)?norm\.', 'ln_post.'))
BLOCK_NAMES = (
    ('norm1.', 'ln_1.'), ('norm2.', 'ln_2.'), ('attn.qkv.', 'attn.in_proj_'),
    ('attn.proj.', 'attn.out_proj.'), ('mlp.fc1.', 'mlp.c_fc.'),
    ('mlp.fc2.', 'mlp.c_proj.'))
ACTIVATIONS = {'QuickGELU': 'quick_gelu', 'GELUTanh': 'gelu_tanh', 'GELU': 'gelu'}


@dataclass(frozen=True)
class TimmWeights:
    """Weights of a timm model.

    Attributes:
        state: With timm's key names.
        options: Options of :class:`~mmcontrast.models.PlainViT` that they were trained
            with; empty for a file, which does not tell.
    """

    state: dict[str, Tensor]
    options: dict


def load_timm_weights(source: str | Path) -> TimmWeights:
    """Read the weights of a timm model.

    Args:
        source: A file: ``.pt``/``.pth``/``.bin`` of a state dict, ``.safetensors``. Or
            a name of timm such as 'vit_base_patch16_224.augreg_in21k', from timm's
            cache on this machine or from the network. Files are read as data only.

    Raises:
        FileNotFoundError: If there is no such file, or the named weights are neither
            in the cache nor can be downloaded.
        ValueError: If timm has no such model or weights, or the file is damaged.
    """
    if is_timm_name(source):
        return _from_library(str(source))
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'No weights at {source}. Give the path of a file, or the name of a model '
            "of timm such as 'vit_base_patch16_224.augreg_in21k'.")
    state = find_state_dict(read_checkpoint(path), path)
    return TimmWeights({key: value.float() if value.is_floating_point() else value
                        for key, value in state.items()}, {})


def is_timm_name(source: str | Path) -> bool:
    """Whether ``source`` is a model name of timm rather than a path."""
    path = Path(source).expanduser()
    return (isinstance(source, str) and ('/' not in source or 'hub:' in source)
            and path.suffix not in FILE_SUFFIXES and not path.exists())


def to_clip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's keys of a ViT to those of a CLIP image tower below ``visual.``.

    Layer scales are multiplied into the linear layer before them. Keys of parts that a
    CLIP tower does not have keep their names.

    Raises:
        KeyError: If the keys are not those of a ViT of timm.
    """
    if 'patch_embed.proj.weight' not in state or 'pos_embed' not in state:
        raise UserKeyError(
            'These weights are not those of a ViT of timm: expected '
            f'patch_embed.proj.weight and pos_embed, found {count_prefixes(state)}. '
            "CLIP's weights need init_cfg=dict(type='CLIPPretrained', ...).")
    renamed = {f'visual.{_renamed(key)}': value
               for key, value in _without_layer_scale(state).items()}
    table = renamed['visual.positional_embedding']
    return {**renamed, 'visual.positional_embedding': table.flatten(0, -2)}


def _renamed(key: str) -> str:
    block = re.match(r'blocks\.(\d+)\.(.*)', key)
    if block is None:
        for pattern, name in NAMES:
            key, found = re.subn(f'^{pattern}', name, key)
            if found:
                break
        return key
    number, rest = block.groups()
    for theirs, ours in BLOCK_NAMES:
        if rest.startswith(theirs):
            rest = ours + rest.removeprefix(theirs)
            break
    return f'transformer.resblocks.{number}.{rest}'


def _without_layer_scale(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = dict(state)
    for key in [key for key in state if re.search(r'\.ls[12]\.gamma$', key)]:
        block, scale, _ = key.rsplit('.', 2)
        linear = f'{block}.attn.proj' if scale == 'ls1' else f'{block}.mlp.fc2'
        gamma = state.pop(key)
        state[f'{linear}.weight'] = state[f'{linear}.weight'] * gamma[:, None]
        state[f'{linear}.bias'] = state[f'{linear}.bias'] * gamma
    return state


def _from_library(name: str) -> TimmWeights:
    library = _timm()
    if 'hub:' not in name:
        _check_name(library, name)
    try:
        model = library.create_model(name, pretrained=True)
    except Exception as error:      # huggingface_hub, urllib and timm: many kinds
        raise FileNotFoundError(
            f'The weights {name!r} of timm are not on this machine and could not be '
            f'downloaded ({type(error).__name__}: {error}). Fetch them where there is '
            'a network and give the path of the file instead of the name, or copy that '
            "machine's Hugging Face cache and point HF_HOME to it.") from error
    return TimmWeights(model.state_dict(), _options(model))


def _check_name(library: ModuleType, name: str) -> None:
    architecture = name.partition('.')[0]
    if not library.is_model(architecture):
        hint = did_you_mean(architecture, library.list_models('*vit*'), num=4)
        raise ValueError(f'timm has no model {architecture!r}{hint}')
    known = library.list_pretrained(f'{architecture}.*') or library.list_pretrained(
        architecture)
    if not known or ('.' in name and name not in known):
        raise ValueError(
            f'timm has no weights {name!r}; it has {", ".join(known) or "none"} of '
            'this architecture.')


def _options(model: nn.Module) -> dict:
    """What a ViT of timm fixes in code; a model of another kind has none of it."""
    blocks = getattr(model, 'blocks', None)
    if not blocks or not hasattr(blocks[0], 'mlp') or not hasattr(blocks[0], 'norm1'):
        return {}
    activation = blocks[0].mlp.act
    name = type(activation).__name__
    if getattr(activation, 'approximate', 'none') == 'tanh':
        name = 'GELUTanh'
    return dict(activation=ACTIVATIONS.get(name, name), norm_eps=blocks[0].norm1.eps)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "Weights by timm's model names need timm: pip install timm. A file of "
            'weights does not.') from error
    return timm


# In mmengine's root too, as CLIPPretrained.
@ROOT_WEIGHT_INITIALIZERS.register_module()
@WEIGHT_INITIALIZERS.register_module()
class TimmPretrained:
    """Weight initializer that loads a ViT of timm into one of our towers.

    ``init_cfg=dict(type='TimmPretrained', checkpoint='vit_base_patch16_224.dino')``.

    Args:
        checkpoint: As ``source`` of :func:`load_timm_weights`.
    """

    def __init__(self, checkpoint: str | Path):
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            TypeError: If ``module`` has no ``load_timm``.
            ValueError: If it has another activation or norm epsilon than the weights
                were trained with, which would otherwise change all outputs silently.
        """
        name = type(module).__name__
        if not hasattr(module, 'load_timm'):
            raise TypeError(
                f'{name} cannot be filled from weights of timm: it has no '
                "load_timm(state). Use init_cfg=dict(type='Pretrained', ...).")
        weights = load_timm_weights(self.checkpoint)
        for option, theirs in weights.options.items():
            ours = getattr(module, option)
            if ours != theirs:
                raise ValueError(
                    f'{self.checkpoint} was trained with {option}={theirs!r}, but '
                    f'{name} has {option}={ours!r}: set {option}={theirs!r}.')
        print_log(f'{name}: timm weights of {self.checkpoint}', logger='current')
        module.load_timm(weights.state)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'TimmPretrained: {self.checkpoint}')

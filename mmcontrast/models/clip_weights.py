"""Load CLIP weights from a file, or from open_clip by architecture and tag."""
from pathlib import Path
from types import ModuleType

from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from torch import Tensor, nn

from .._compat import install_command
from ..errors import UserKeyError, did_you_mean
from ..io.checkpoint import count_prefixes, find_state_dict, read_checkpoint
from ..io.script_archive import is_script_archive, read_script_archive
from ..registry import WEIGHT_INITIALIZERS

FILE_SUFFIXES = ('.pt', '.pth', '.bin', '.ckpt', '.safetensors')
# Keys of which every CLIP file holds at least one.
REQUIRED_KEYS = ('token_embedding.weight', 'visual.conv1.weight')


def load_clip_state(source: str | Path) -> dict[str, Tensor]:
    """Read the weights of a whole CLIP model, under OpenAI's key names.

    Args:
        source: A file: OpenAI's TorchScript archive, ``.pt``/``.pth`` of a plain state
            dict or of open_clip's training (``state_dict``), ``.safetensors``. Or
            ``'RN50/openai'``: architecture and tag of open_clip, from its cache on this
            machine or from the network. Files are read as data only.

    Returns:
        ``visual.*``, ``token_embedding.weight``, ``positional_embedding``,
        ``transformer.*``, ``ln_final.*``, ``text_projection``, ``logit_scale``: on the
        CPU, floating point ones in float32.

    Raises:
        FileNotFoundError: If there is no such file, or the named weights are neither
            in the cache nor can be downloaded.
        ValueError: If the architecture or tag is unknown, or the file is damaged or
            holds code.
        KeyError: If the file holds no CLIP weights.
    """
    path = (fetch_pretrained(source) if is_pretrained_name(source)
            else Path(source).expanduser())
    if not path.is_file():
        raise FileNotFoundError(
            f'No CLIP weights at {source}. Give the path of a file, or '
            "'ARCHITECTURE/TAG' of open_clip such as 'RN50/openai'.")
    if path.suffix != '.safetensors' and is_script_archive(path):
        state = read_script_archive(path)
    else:
        state = find_state_dict(read_checkpoint(path), path)
    # open_clip keeps the text tower under 'text.' in its newer class.
    state = {key.removeprefix('text.'): value for key, value in state.items()}
    if not any(name in state for name in REQUIRED_KEYS):
        raise UserKeyError(
            f'{path} holds no CLIP model: expected {" or ".join(REQUIRED_KEYS)}, found '
            f'{count_prefixes(state)}. A tower taken out of its model lacks the '
            'prefixes; a DenseCLIP checkpoint goes through tools/convert/official.py.')
    return {key: value.float() if value.is_floating_point() else value
            for key, value in state.items()}


def is_pretrained_name(source: str | Path) -> bool:
    """Whether ``source`` is an 'ARCHITECTURE/TAG' of open_clip rather than a path."""
    path = Path(source).expanduser()
    return (isinstance(source, str) and source.count('/') == 1
            and path.suffix not in FILE_SUFFIXES and not path.exists())


def fetch_pretrained(name: str) -> Path:
    """Path of the weights ``'ARCHITECTURE/TAG'``, downloaded by open_clip if needed.

    Raises:
        ValueError: If open_clip knows no such architecture or tag.
        FileNotFoundError: If the file is not in the cache and cannot be downloaded.
    """
    config = pretrained_config(name)
    try:
        return Path(open_clip().download_pretrained(config))
    except Exception as error:      # huggingface_hub, urllib and open_clip: many kinds
        where = config.get('hf_hub') or config.get('url')
        raise FileNotFoundError(
            f'The weights {name!r} are not on this machine and could not be '
            f'downloaded ({type(error).__name__}: {error}). Fetch {where} where there '
            'is a network and give the path of the file instead of the name, or copy '
            "that machine's Hugging Face cache and point HF_HOME to it.") from error


def pretrained_config(name: str) -> dict:
    """Entry of open_clip for ``'ARCHITECTURE/TAG'``: URL, activation, mean, std.

    Raises:
        ValueError: If it knows no such architecture or tag; the closest are named.
    """
    architecture, _, tag = name.partition('/')
    tags = open_clip().list_pretrained_tags_by_model(architecture)
    if not tags:
        # Every one with weights has a config, not the other way round.
        check_architecture(architecture)
        raise ValueError(
            f'open_clip has no weights for {architecture!r}; give the path of a file.')
    config = open_clip().get_pretrained_cfg(architecture, tag)
    if not config:
        raise ValueError(
            f'{architecture!r} has no weights tagged {tag!r}; open_clip knows '
            f'{", ".join(sorted(tags))}.')
    return config


def check_architecture(name: str) -> None:
    """Raise a ValueError with the closest names if open_clip does not know ``name``."""
    names = open_clip().list_models()
    if name in names:
        return
    hint = did_you_mean(name, names, num=4, cutoff=0.5)
    raise ValueError(f'open_clip knows no tower {name!r}{hint} '
                     'open_clip.list_models() shows all.')


def open_clip() -> ModuleType:
    """Import open_clip, or raise an ImportError that says how to install it."""
    try:
        import open_clip
    except ImportError as error:
        raise ImportError(
            "CLIP's towers and tokenizer need open_clip: "
            f'{install_command("open_clip")}') from error
    return open_clip


# In mmengine's root too: a model of ours inside an mmseg or mmdet run, whose default
# scope is theirs, finds it by the same name.
@ROOT_WEIGHT_INITIALIZERS.register_module()
@WEIGHT_INITIALIZERS.register_module()
class CLIPPretrained:
    """Weight initializer that loads CLIP weights into one of our towers.

    ``init_cfg=dict(type='CLIPPretrained', checkpoint='RN50.pt')``. The module selects
    its part in ``load_clip(state)``.

    Args:
        checkpoint: As ``source`` of :func:`load_clip_state`.
    """

    def __init__(self, checkpoint: str | Path):
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            TypeError: If ``module`` has no ``load_clip``.
            ValueError: If it applies another activation than the weights were trained
                with, which would otherwise change all outputs silently.
        """
        if not hasattr(module, 'load_clip'):
            raise TypeError(
                f'{type(module).__name__} cannot be filled from CLIP weights: it has '
                "no load_clip(state). Use init_cfg=dict(type='Pretrained', ...).")
        self._check_activation(module)
        print_log(f'{type(module).__name__}: CLIP weights of {self.checkpoint}',
                  logger='current')
        module.load_clip(load_clip_state(self.checkpoint))
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'CLIPPretrained: {self.checkpoint}')

    def _check_activation(self, module: nn.Module) -> None:
        option = next((name for name in ('activation', 'quick_gelu')
                       if hasattr(module, name)), None)
        if option is None or not is_pretrained_name(self.checkpoint):
            return
        ours = getattr(module, option)
        theirs = pretrained_config(self.checkpoint).get('quick_gelu', False)
        if option == 'activation':
            theirs = 'quick_gelu' if theirs else 'gelu'
        if ours != theirs:
            raise ValueError(
                f'{self.checkpoint} was trained with {option}={theirs!r}, but '
                f'{type(module).__name__} has {option}={ours!r}: set '
                f'{option}={theirs!r}.')

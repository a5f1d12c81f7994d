"""Look up the sizes of CLIP's image towers by their names in open_clip."""
from dataclasses import asdict, dataclass, replace

from ...errors import did_you_mean
from ..clip_weights import open_clip

# Keys that describe OpenAI's towers; others have other norms, pools or positions.
_PLAIN = {'image_size', 'layers', 'width', 'patch_size', 'head_width', 'mlp_ratio'}


@dataclass(frozen=True)
class ResNetSizes:
    """A ModifiedResNet.

    Attributes:
        layers: Blocks of the four stages.
        width: Channels of the stem.
        embed_dims: D, width of the image and text embeddings.
        input_size: Side in pixels of the images it was trained with.
    """

    layers: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    embed_dims: int = 1024
    input_size: int = 224


@dataclass(frozen=True)
class ViTSizes:
    """A vision transformer; ``layers`` is the number of blocks, the rest as above."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    patch_size: int = 16
    mlp_ratio: float = 4.0
    embed_dims: int = 512
    input_size: int = 224


def resnet_sizes(tower: str | None, **given) -> ResNetSizes:
    """Complete given sizes from a tower of open_clip.

    Args:
        tower: Such as 'RN101' or 'RN50x4'; None for RN50.
        given: Fields of :class:`ResNetSizes`; None to complete.

    Raises:
        ValueError: If open_clip has no ModifiedResNet of that name (the message names
            close ones), or a given size contradicts the tower.
    """
    given = _given(given)
    if tower is None:
        return replace(ResNetSizes(), **given)
    config = _config(tower, 'ResNet')
    vision = config['vision_cfg']
    return _agreed(tower, ResNetSizes(
        tuple(vision['layers']), vision['width'], config['embed_dim'],
        vision['image_size']), given)


def vit_sizes(tower: str | None, **given) -> ViTSizes:
    """As :func:`resnet_sizes`: 'ViT-B-16' or 'ViT-B/16'; that one for None."""
    given = _given(given)
    if tower is None:
        heads = max(1, given.get('width', ViTSizes.width) // 64)
        return replace(ViTSizes(heads=heads), **given)
    config = _config(tower, 'ViT')
    vision = config['vision_cfg']
    return _agreed(tower, ViTSizes(
        vision['layers'], vision['width'],
        vision['width'] // vision.get('head_width', 64), vision['patch_size'],
        vision.get('mlp_ratio', 4.0), config['embed_dim'], vision['image_size']), given)


def _given(sizes: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value
            for name, value in sizes.items() if value is not None}


def _agreed(tower: str, sizes, given: dict):
    wrong = [f'{name}={given[name]} (it has {value})'
             for name, value in asdict(sizes).items()
             if given.get(name, value) != value]
    if wrong:
        raise ValueError(
            f'The image tower of {tower} does not have {", ".join(wrong)}. Leave its '
            'sizes out, or leave tower out to build one of your own.')
    return sizes


def _config(tower: str, kind: str) -> dict:
    library = open_clip()
    # OpenAI writes ViT-B/16, open_clip ViT-B-16.
    name = str(tower).replace('/', '-')
    config = library.get_model_config(name)
    if config and _is_plain(config, kind):
        return config
    known = [other for other in library.list_models()
             if _is_plain(library.get_model_config(other), kind)]
    hint = did_you_mean(name, known, num=3,
                        otherwise=f': it has {", ".join(sorted(known))}.')
    raise ValueError(f'open_clip has no {kind} image tower {tower!r}{hint}')


def _is_plain(config: dict, kind: str) -> bool:
    """Whether a tower of open_clip is a ResNet or ViT built like OpenAI's."""
    vision = config['vision_cfg']
    return (set(vision) <= _PLAIN
            and isinstance(vision['layers'], list) == (kind == 'ResNet'))

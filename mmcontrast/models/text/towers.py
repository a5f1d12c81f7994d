"""Build CLIP's text tower from the configs and modules of open_clip."""
from dataclasses import asdict, dataclass, fields

from torch import nn

from ..clip_weights import check_architecture, open_clip

# Settings of open_clip that a transformer of CLIP's kind leaves at their defaults.
OTHER_KINDS = dict(
    hf_model_name=None, hf_tokenizer_name=None, embed_cls=False, no_causal_mask=False,
    pool_type='argmax', proj_type='linear', proj_bias=False, mlp_ratio=4.0,
    ls_init_value=None, block_type=None, norm_kwargs=None, act_kwargs=None,
    tokenizer_kwargs=None)


@dataclass(frozen=True)
class TextSizes:
    """Sizes of a text tower; None where they are not given yet."""

    embed_dims: int | None = None
    width: int | None = None
    heads: int | None = None
    layers: int | None = None
    context_length: int | None = None
    vocab_size: int | None = None


OPENAI_RN50 = TextSizes(1024, 512, 8, 12, 77, 49408)


def text_sizes(tower: str | None, given: TextSizes) -> TextSizes:
    """Complete given sizes from an architecture of open_clip.

    Args:
        tower: Such as ``'ViT-B-16'``; None for CLIP's RN50.
        given: Must agree with the tower; only ``context_length`` may be shorter.

    Raises:
        ValueError: If open_clip knows no such tower, it is of another kind, or a size
            contradicts it.
    """
    whole = OPENAI_RN50 if tower is None else tower_sizes(tower)
    sizes = {name: value for name, value in asdict(given).items() if value is not None}
    if tower is not None:
        wrong = [f'{name}={value} (it has {getattr(whole, name)})'
                 for name, value in sizes.items()
                 if value != getattr(whole, name) and name != 'context_length']
        if sizes.get('context_length', 0) > whole.context_length:
            wrong.append(f'context_length={sizes["context_length"]} (it has '
                         f'{whole.context_length} positions)')
        if wrong:
            raise ValueError(
                f'The text tower of {tower} does not have {", ".join(wrong)}. Leave '
                'its sizes out, or leave tower out to build one of your own.')
    sizes = TextSizes(**asdict(whole) | sizes)
    if sizes.width % sizes.heads:
        raise ValueError(f'width={sizes.width} of the text tower cannot be shared by '
                         f'heads={sizes.heads}: expected a multiple.')
    return sizes


def tower_sizes(tower: str) -> TextSizes:
    """Sizes of the text tower of an architecture of open_clip.

    Raises:
        ValueError: If there is no such architecture, or its text tower is not a
            transformer of CLIP's kind (causal, byte pairs, read at the end token).
    """
    check_architecture(tower)
    config = open_clip().get_model_config(tower)
    text = config['text_cfg']
    unlike = {name: text[name] for name, usual in OTHER_KINDS.items()
              if text.get(name, usual) != usual}
    if unlike:
        raise ValueError(
            f'The text tower of {tower} is not of the kind of CLIP ({unlike}), which '
            'CLIPTextEncoder computes. ViT-B-16, ViT-L-14 and RN50 are.')
    usual = OPENAI_RN50
    given = {field.name: text.get(field.name, getattr(usual, field.name))
             for field in fields(TextSizes)}
    return TextSizes(**given | dict(embed_dims=config['embed_dim']))


def build_tower(sizes: TextSizes, quick_gelu: bool) -> dict[str, nn.Module]:
    """Build open_clip's text transformer.

    Returns:
        Its submodules and parameters, by their names in OpenAI's CLIP.
    """
    open_clip()
    from open_clip.transformer import QuickGELU, TextTransformer
    whole = TextTransformer(
        context_length=sizes.context_length, vocab_size=sizes.vocab_size,
        width=sizes.width, heads=sizes.heads, layers=sizes.layers,
        output_dim=sizes.embed_dims, act_layer=QuickGELU if quick_gelu else nn.GELU)
    return {name: getattr(whole, name) for name in (
        'token_embedding', 'positional_embedding', 'transformer', 'ln_final',
        'text_projection')}

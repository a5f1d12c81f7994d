"""Encode texts with CLIP's text tower, optionally behind learnable contexts."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from ...errors import UserKeyError
from ...registry import MODELS
from .packing import PackedTexts, finish_block, packed_attention
from .towers import TextSizes, build_tower, text_sizes


@MODELS.register_module()
class CLIPTextEncoder(BaseModule):
    """Text transformer of CLIP: one embedding per text, with optional contexts.

    "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021;
    with contexts it is the ``CLIPTextContextEncoder`` of DenseCLIP (CVPR 2022). Modules
    and parameter names are open_clip's, and so OpenAI's.

    The mask is causal, so the start token and the contexts, a prefix of all texts, do
    not depend on the text. Each layer computes them once, the texts attend to their
    keys and values, and padding is left out. Outputs and gradients equal those of the
    plain tower.

    Args:
        embed_dims, width, heads, layers, vocab_size: Sizes; by default those of
            ``tower``, or of CLIP's RN50. Given sizes must agree with ``tower``.
        context_length: Longest sequence, contexts included. May be shorter than that
            of the tower: its position table is truncated.
        quick_gelu: OpenAI's activation. False for towers trained with GELU, most of
            LAION's.
        frozen: Whether the weights are fixed. Contexts still receive gradients.
        tower: Architecture of open_clip that gives the sizes, such as ``'ViT-B-16'``.
        init_cfg: ``dict(type='CLIPPretrained', checkpoint=...)``; without it the
            weights are random as in open_clip.

    Raises:
        ValueError: If open_clip knows no such tower, a size contradicts it, or it is
            no transformer of CLIP's kind.
    """

    def __init__(self, embed_dims: int | None = None, width: int | None = None,
                 heads: int | None = None, layers: int | None = None,
                 context_length: int | None = None, vocab_size: int | None = None,
                 quick_gelu: bool = True, frozen: bool = True,
                 tower: str | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.sizes = text_sizes(tower, TextSizes(
            embed_dims, width, heads, layers, context_length, vocab_size))
        self.quick_gelu = quick_gelu
        self.frozen = frozen
        self._packed = None, None, None
        for name, child in build_tower(self.sizes, quick_gelu).items():
            setattr(self, name, child)
        if frozen:
            self.requires_grad_(False)

    @property
    def embed_dims(self) -> int:
        """Length D of an embedding."""
        return self.sizes.embed_dims

    @property
    def width(self) -> int:
        """Channels of a token, and so of a context."""
        return self.sizes.width

    @property
    def context_length(self) -> int:
        """Most tokens of a sequence, contexts included."""
        return self.sizes.context_length

    def forward(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """Embed K texts, behind each of B sets of contexts.

        Args:
            tokens: (K, L) ids from :func:`tokenize`, on any device; padding costs
                nothing.
            contexts: (B, N, width) vectors between the start token and every text.

        Returns:
            (K, embed_dims) without contexts, (B, K, embed_dims) with them; not
            normalized.

        Raises:
            ValueError: If the shapes do not fit, or contexts and tokens together are
                longer than the tower's context.
        """
        texts = self._pack(tokens)
        x = self._embed(tokens[:1, 0], contexts, texts)
        *blocks, last = self.transformer.resblocks
        for block in blocks:
            x = finish_block(block, x, packed_attention(block, x, texts))
        # Only the end tokens are read, so the last block computes them alone.
        ends = texts.ends + x.shape[1] - len(texts.ids)
        x = finish_block(last, x[:, ends], packed_attention(last, x, texts)[:, ends])
        embeds = self.ln_final(x) @ self.text_projection
        return embeds[0] if contexts is None else embeds

    def load_clip(self, state: dict[str, Tensor]) -> None:
        """Fill the tower from the weights of a whole CLIP model.

        Args:
            state: From :func:`load_clip_state`. Its position table is cut to
                ``context_length`` rows; the image tower is ignored.

        Raises:
            KeyError: If weights of the text tower are missing.
            ValueError: If the tower of the file has other sizes.
        """
        ours = self.state_dict()
        parts = {key.split('.')[0] for key in ours}
        # TorchScript archives may hold the causal mask of each block.
        state = {key: value for key, value in state.items()
                 if key.split('.')[0] in parts and not key.endswith('attn_mask')}
        missing = sorted(ours.keys() - state)
        if missing:
            raise UserKeyError(
                f'The weights lack {len(missing)} of the text tower: {missing[:4]}. '
                'Expected those of a whole CLIP model, or fewer layers.')
        positions = state['positional_embedding']
        state['positional_embedding'] = positions[:self.context_length]
        wrong = [f'{key} {tuple(state[key].shape)} where the tower has '
                 f'{tuple(value.shape)}' for key, value in ours.items()
                 if state[key].shape != value.shape]
        extra = sorted(state.keys() - ours)
        if wrong or extra:
            raise ValueError(
                'The weights are those of another text tower: '
                f'{"; ".join(wrong[:4] + extra[:4])}. Build it with '
                f'{_sizes_in(state)}, context_length={len(positions)} or less, or name '
                "the architecture: tower='RN50'.")
        self.load_state_dict(state)

    def _pack(self, tokens: Tensor) -> PackedTexts:
        """:class:`PackedTexts` of ``tokens`` on the tower's device."""
        if tokens.ndim != 2 or len(tokens) == 0 or tokens.shape[1] < 2:
            raise ValueError(
                'tokens must be (K, L) ids of at least one text with its start and end '
                f'token, as tokenize(texts) gives them, got {tuple(tokens.shape)}.')
        # Cached for the same tensor: reading it on a GPU would wait for the device.
        version = None if tokens.is_inference() else tokens._version
        known = version, self.positional_embedding.device
        if self._packed[0] is not tokens or self._packed[1] != known:
            self._packed = tokens, known, PackedTexts.of(tokens).to(known[1])
        return self._packed[2]

    def _embed(self, start: Tensor, contexts: Tensor | None,
               texts: PackedTexts) -> Tensor:
        """(B, P + T, C) input of the first layer, positions added."""
        self._check(contexts, texts)
        prefix = self.token_embedding(start.to(texts.ids.device))[None]
        if contexts is not None:
            prefix = torch.cat([prefix.expand(len(contexts), -1, -1),
                                contexts.to(prefix.dtype)], dim=1)
        length = prefix.shape[1]
        prefix = prefix + self.positional_embedding[:length]
        suffixes = self.token_embedding(texts.ids) + F.embedding(
            texts.positions + length, self.positional_embedding)
        return torch.cat([prefix, suffixes.expand(len(prefix), -1, -1)], dim=1)

    def _check(self, contexts: Tensor | None, texts: PackedTexts) -> None:
        num_contexts = 0
        if contexts is not None:
            if contexts.ndim != 3 or contexts.shape[2] != self.width:
                raise ValueError(
                    f'contexts must be (B, N, {self.width}), the width of the text '
                    f'tower, got {tuple(contexts.shape)}.')
            num_contexts = contexts.shape[1]
        length = num_contexts + 1 + texts.longest
        if length > self.context_length:
            raise ValueError(
                f'{num_contexts} contexts and the {1 + texts.longest} tokens of the '
                f'longest text need {length} positions, the text tower has '
                f'{self.context_length}. Shorten the text, use fewer contexts or build '
                'the tower with a larger context_length (CLIP has 77).')


def _sizes_in(state: dict[str, Tensor]) -> str:
    """The sizes of the tower that weights come from, as arguments."""
    width, embed_dims = state['text_projection'].shape
    layers = {key.split('.')[2] for key in state if key.startswith('transformer.')}
    return (f'embed_dims={embed_dims}, width={width}, layers={len(layers)}, '
            f'vocab_size={len(state["token_embedding.weight"])}')

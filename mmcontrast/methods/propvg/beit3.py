"""Encode an image and a phrase together: BEiT-3."""
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import UserValueError
from ...models.layers import ConvStem
from ...registry import MODELS
from .beit3_weights import FIRST_PATCH, OFFSET, POSITIONS, resize_positions
from .multiway import MultiwayEncoder


class EncodedPair(NamedTuple):
    """What :class:`BEiT3` makes of images and phrases.

    Attributes:
        image: (B, C, h, w).
        text: (B, T, C), padding included.
        cls: (B, C), the class token.
    """

    image: Tensor
    text: Tensor
    cls: Tensor


@MODELS.register_module()
class BEiT3(BaseModule):
    """Multiway transformer over the patches of an image and the tokens of a phrase.

    Source: Wang et al., "Image as a Foreign Language: BEiT Pretraining for All Vision
    and Vision-Language Tasks", CVPR 2023 (arXiv 2208.10442), as PropVG uses it. The
    defaults are those of the base model; the large one has ``embed_dims=1024, depth=24,
    num_heads=16, feedforward=4096``. Parameter names are those of the released files.

    Pretrained weights: ``init_cfg=dict(type='BEiT3Pretrained', checkpoint=FILE)``.

    Args:
        image_size: Side of the square images that the position table is made for.
            Positions of images of another size are interpolated in each forward, and
            those of a checkpoint when it is loaded.
        patch_size: Side of a patch.
        embed_dims: C.
        depth: Layers.
        num_heads: Attention heads.
        feedforward: Hidden channels of a layer.
        vocab_size: Rows of the text table.
        drop_path: Rate of the last layer; it rises from 0 linearly.
        max_text_positions: Rows of the text's position table; two are never read.
        conv_stem: Embed patches with a few convolutions (:class:`ConvStem`) instead of
            one linear map. Learns from far fewer images; pretrained files do not have
            it.
        stem_norm, stem_channels: ``norm`` and ``first`` of :class:`ConvStem`.
        with_cp: Recompute each layer in the backward to save memory.

    Attributes:
        out_channels: C.

    Raises:
        ValueError: If the sizes do not fit together.
    """

    def __init__(self, image_size: int, patch_size: int = 16, embed_dims: int = 768,
                 depth: int = 12, num_heads: int = 12, feedforward: int = 3072,
                 vocab_size: int = 64010, drop_path: float = 0.1,
                 max_text_positions: int = 1024, conv_stem: bool = False,
                 stem_norm: str = 'group', stem_channels: int | None = None,
                 with_cp: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if min(image_size, patch_size) < 1 or image_size % patch_size:
            raise UserValueError(f'image_size={image_size} is not a multiple of '
                                 f'patch_size={patch_size}.')
        self.patch_size, self.grid = patch_size, image_size // patch_size
        self.out_channels = embed_dims
        self.text_embed = nn.Embedding(vocab_size, embed_dims)
        self.vision_embed = PatchEmbedding(
            ConvStem(embed_dims, patch_size, stem_norm, stem_channels) if conv_stem
            else nn.Conv2d(3, embed_dims, patch_size, patch_size), embed_dims)
        self.encoder = MultiwayEncoder(
            embed_dims, depth, num_heads, feedforward, drop_path,
            FIRST_PATCH + self.grid ** 2, max_text_positions, with_cp)
        self._draw_weights()

    def _draw_weights(self) -> None:
        """As the released code; norms, class token and stem are drawn already."""
        for module in self.encoder.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.02, b=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.text_embed.weight, std=self.out_channels ** -0.5)

    def forward(self, images: Tensor, ids: Tensor, padding: Tensor) -> EncodedPair:
        """Encode images and phrases.

        Args:
            images: (B, 3, H, W), normalized, whole patches.
            ids: (B, T) int64 token ids.
            padding: (B, T) bool, True = padding.

        Raises:
            ValueError: If sizes do not fit, or there are more tokens than positions.
        """
        return self.encode(self.embed_images(images), ids, padding)

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> patch embeddings (B, C, h, w), the same for every phrase.

        Raises:
            ValueError: If a side is no multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise UserValueError(
                f'Images of {width} x {height} are no whole patches of '
                f'{self.patch_size} pixels: resize them to multiples of that.')
        return self.vision_embed.proj(images)

    def encode(self, patches: Tensor, ids: Tensor, padding: Tensor,
               longest: int | None = None) -> EncodedPair:
        """Encode patch embeddings (B, C, h, w) of :meth:`embed_images` and phrases.

        For several phrases of an image, repeat its patches.

        Args:
            patches, ids, padding: See :meth:`forward`.
            longest: Tokens of the longest phrase, where the caller knows it: all
                positions after it are padding. Padding enters as zeros and attends to
                the same tokens wherever it stands, so one such position is computed
                and repeated.
        """
        size, length = patches.shape[-2:], ids.shape[1]
        if longest is not None:
            ids, padding = ids[:, :longest + 1], padding[:, :longest + 1]
        vision, text = self.encoder(
            self._vision_tokens(patches), self._text_tokens(ids, padding), padding)
        image = vision[:, 1:].mT.unflatten(2, size)
        rest = text[:, -1:].expand(-1, length - text.shape[1], -1)
        return EncodedPair(image, torch.cat([text, rest], 1), vision[:, 0])

    def _vision_tokens(self, patches: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1 + h * w, C), the class token first."""
        positions = self._vision_positions(*patches.shape[-2:])
        first = self.vision_embed.cls_token.expand(len(patches), -1, -1)
        tokens = torch.cat([first.to(patches.dtype), patches.flatten(2).mT], 1)
        return tokens + positions

    def _text_tokens(self, ids: Tensor, padding: Tensor) -> Tensor:
        """(B, T) -> (B, T, C), zero where there is padding."""
        table = self.encoder.embed_positions['B'].weight[OFFSET:]
        length = ids.shape[1]
        if length > len(table):
            raise UserValueError(
                f'{length} tokens, but there are positions for {len(table)}: shorten '
                f'the phrases (max_tokens of the tokenizer), or set '
                f'max_text_positions={length + OFFSET} for weights of your own.')
        tokens = self.text_embed(ids) + table[:length]
        return tokens.masked_fill(padding[..., None], 0)

    def _vision_positions(self, height: int, width: int) -> Tensor:
        """(1 + h * w, C), that of the class token first."""
        table = self.encoder.embed_positions['A'].weight
        return resize_positions(table, height, width)[OFFSET:]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs
                              ) -> None:
        key = prefix + POSITIONS
        if key in state_dict:
            state_dict[key] = resize_positions(state_dict[key], self.grid, self.grid)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class PatchEmbedding(nn.Module):
    """The map from pixels to patches, and the class token."""

    def __init__(self, proj: nn.Module, dims: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.proj = proj

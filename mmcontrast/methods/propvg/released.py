"""Compute outputs of released PropVG weights with plain functions of torch.

The converter compares our model with them: equal weights must give equal outputs. Keys
and order of operations are those of the release, in eval mode.
"""
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor

Weights = Mapping[str, Tensor]
# Of all attentions of the head.
HEADS, POINTS = 8, 4
# Channels of a head of the encoder, in the base and the large model.
HEAD_WIDTH = 64
TEMPERATURE = 0.07


def part(weights: Weights, name: str) -> dict[str, Tensor]:
    """The weights below ``name.``, without that prefix."""
    return {key[len(name) + 1:]: value for key, value in weights.items()
            if key.startswith(f'{name}.')}


def encoder(weights: Weights, images: Tensor, ids: Tensor, padding: Tensor
            ) -> dict[str, Tensor]:
    """BEiT-3 on images of the size that its positions are made for.

    Args:
        weights: Keys below ``beit3.``.
        images: (B, 3, S, S).
        ids: (B, T).
        padding: (B, T) bool.

    Returns:
        ``image`` (B, C, h, w) and ``text`` (B, T, C).
    """
    patches = F.conv2d(images, weights['vision_embed.proj.weight'],
                       weights['vision_embed.proj.bias'],
                       stride=weights['vision_embed.proj.weight'].shape[-1])
    vision = torch.cat([weights['vision_embed.cls_token'].expand(len(images), -1, -1),
                        patches.flatten(2).mT], 1)
    text = F.embedding(ids, weights['text_embed.weight'])
    vision = vision + weights['encoder.embed_positions.A.weight'][2:]
    text = text + weights['encoder.embed_positions.B.weight'][2:2 + ids.shape[1]]
    x = torch.cat([vision, text * ~padding[..., None]], 1)
    split = vision.shape[1]
    for i in range(count(weights, 'encoder.layers')):
        x = _encoder_layer(part(weights, f'encoder.layers.{i}'), x, split, padding)
    x = _both(_norm, weights, 'encoder.layer_norm', x, split)
    return dict(image=x[:, 1:split].mT.unflatten(2, patches.shape[-2:]),
                text=x[:, split:])


def head(weights: Weights, image: Tensor, text: Tensor, padding: Tensor,
         with_existence: bool, top_k: int) -> dict[str, Tensor]:
    """Everything that the head says.

    Args:
        weights: Keys below ``head.``.
        image: (B, C, h, w) image tokens.
        text: (B, T, C) text tokens.
        padding: (B, T) bool.
        with_existence: Whether to run ``dist_head`` (GTMHead).
        top_k: Mask scores that existence averages.

    Returns:
        ``logits`` and ``boxes`` (L, B, Q, ...), ``refer`` (B, Q), ``mask_logits``
        (B, 1, 16 h, 16 w), and ``exists`` (B,).
    """
    levels = [x.chunk(2, 1) for x in _pyramid(
        part(weights, 'neck'), F.conv2d(image, weights['img_embedding.weight']))]
    states, reference = _decoder(weights, [x for x, _ in levels])
    start = torch.cat([_inverse_sigmoid(reference), torch.zeros_like(reference)], -1)
    pixels = _mask_features(part(weights, 'unet_decoder'), [x for _, x in levels])
    low = F.conv2d(pixels, weights['seg_branch.predict.weight'],
                   weights['seg_branch.predict.bias'])
    query = _linear(weights, 'refer_adapter', states[-1])
    refer = _refer(part(weights, 'mrsm'), query,
                   _linear(weights, 'lan_embedding', text), padding)
    found = dict(
        logits=_linear(weights, 'class_embed.0', states),
        boxes=(_mlp(weights, 'bbox_embed.0', states) + start).sigmoid(), refer=refer,
        mask_logits=F.interpolate(low, scale_factor=4, mode='bilinear',
                                  align_corners=True))
    if with_existence:
        found['exists'] = _existence(part(weights, 'dist_head'), query, refer, pixels,
                                     low.sigmoid(), top_k)
    return found


def count(weights: Weights, name: str) -> int:
    """Number of modules in the list ``name``."""
    return len({key.split('.')[name.count('.') + 1] for key in weights
                if key.startswith(f'{name}.')})


def _both(apply: Callable, weights: Weights, name: str, x: Tensor, split: int
          ) -> Tensor:
    """Copy A for the first tokens, copy B for the others."""
    return torch.cat([apply(weights, f'{name}.A', x[:, :split]),
                      apply(weights, f'{name}.B', x[:, split:])], 1)


def _encoder_layer(w: Weights, x: Tensor, split: int, padding: Tensor) -> Tensor:
    y = _both(_norm, w, 'self_attn_layer_norm', x, split)
    q, k, v = (_split(_both(_linear, w, f'self_attn.{name}_proj', y, split),
                      x.shape[-1] // HEAD_WIDTH) for name in 'qkv')
    seen = F.pad(~padding, (split, 0), value=True)
    y = _join(_attend(q, k, v, torch.where(seen, 0., -torch.inf)[:, None, None]))
    y = _both(_norm, w, 'self_attn.inner_attn_ln', y, split)
    x = x + _both(_linear, w, 'self_attn.out_proj', y, split)
    return x + _both(_encoder_ffn, w, 'ffn', _both(
        _norm, w, 'final_layer_norm', x, split), split)


def _encoder_ffn(w: Weights, name: str, x: Tensor) -> Tensor:
    hidden = F.gelu(_linear(w, f'{name}.fc1', x))
    return _linear(w, f'{name}.fc2', _norm(w, f'{name}.ffn_layernorm', hidden))


def _pyramid(w: Weights, x: Tensor) -> list[Tensor]:
    fine = F.gelu(_channel_norm(w, 'fpn1.1', _double(w, 'fpn1.0', x)))
    levels = [_double(w, 'fpn1.3', fine), _double(w, 'fpn2.0', x), x,
              F.max_pool2d(x, 2)]
    for name, padding in (('lateral_convs', 0), ('fpn_convs', 1)):
        levels = [_channel_norm(w, f'{name}.{i}.norm_layer', F.conv2d(
            level, w[f'{name}.{i}.conv.weight'], padding=padding))
            for i, level in enumerate(levels)]
    return levels


def _mask_features(w: Weights, levels: list[Tensor]) -> Tensor:
    x, *finer = reversed(levels)
    for number, level in zip((4, 3, 2), finer, strict=True):
        x = F.interpolate(x, level.shape[-2:], mode='bilinear', align_corners=True)
        x = torch.cat([x, level], 1)
        for i in (1, 2):
            x = F.conv2d(x, w[f'conv{i}_{number}.weight'], padding=1)
            norm = part(w, f'bn{i}_{number}')
            x = F.relu(F.batch_norm(x, norm['running_mean'], norm['running_var'],
                                    norm['weight'], norm['bias']))
    return x


def _decoder(weights: Weights, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """States (L, B, Q, C) of all layers and reference points (Q, 2)."""
    w = part(weights, 'decoder_transformer')
    pos = weights['query_pos.weight']
    reference = _linear(w, 'reference_points', pos).sigmoid()
    x = weights['query_embed.weight'].expand(len(levels[0]), -1, -1)
    states = []
    for i in range(count(w, 'decoder.layers')):
        layer = part(w, f'decoder.layers.{i}')
        y = _attention(layer, 'attentions.0.attn', x + pos, x + pos, x)
        x = _norm(layer, 'norms.0', x + y)
        y = _sample(part(layer, 'attentions.1'), x + pos, reference, levels)
        x = _norm(layer, 'norms.1', x + y)
        x = _norm(layer, 'norms.2', x + _ffn(layer, x))
        states.append(x)
    return torch.stack(states), reference


def _sample(w: Weights, query: Tensor, reference: Tensor, levels: list[Tensor]
            ) -> Tensor:
    """Multi-scale deformable attention."""
    batch, queries, channels = query.shape
    shape = batch, queries, HEADS, len(levels), POINTS
    offsets = _linear(w, 'sampling_offsets', query).view(*shape, 2)
    share = _linear(w, 'attention_weights', query).view(*shape[:3], -1).softmax(-1)
    share, total = share.view(shape), 0
    for i, level in enumerate(levels):
        value = _linear(w, 'value_proj', level.movedim(1, -1)).movedim(-1, 1)
        value = value.reshape(batch * HEADS, channels // HEADS, *level.shape[-2:])
        size = query.new_tensor(level.shape[:-3:-1])
        points = reference[:, None, None] + offsets[:, :, :, i] / size
        points = (2 * points - 1).transpose(1, 2).flatten(0, 1)
        taken = F.grid_sample(value, points, align_corners=False)
        taken = taken.view(batch, HEADS, -1, queries, POINTS)
        total = total + torch.einsum('bhcqp,bqhp->bqhc', taken, share[:, :, :, i])
    return _linear(w, 'output_proj', total.flatten(2))


def _refer(w: Weights, x: Tensor, text: Tensor, padding: Tensor) -> Tensor:
    code = torch.zeros_like(text[0])
    positions = torch.arange(len(code), dtype=code.dtype)
    code[:, 1::2] = 1
    code[:, 0], code[:, 1] = positions.sin(), positions.cos()
    mask = torch.where(padding, -torch.inf, 0.)[:, None, None]
    for i in range(count(w, 'word_attn.layers')):
        layer = part(w, f'word_attn.layers.{i}')
        x = _norm(layer, 'norms.0', x + _attention(
            layer, 'attentions.0.attn', x, x, x))
        x = _norm(layer, 'norms.1', x + _attention(
            layer, 'attentions.1.attn', x, text + code, text, mask))
        x = _norm(layer, 'norms.2', x + _ffn(layer, x))
    x = _norm(w, 'word_attn.post_norm_layer', x)
    # What the negated integer mask of the release selects.
    sentence = torch.stack([
        row[-1 - is_padded.long()].amax(0)
        for row, is_padded in zip(text, padding, strict=True)])
    gate = _linear(w, 'refer_linear', sentence).sigmoid()
    to_words = F.cosine_similarity(x[:, :, None], text[:, None], dim=-1).amax(-1)
    to_sentence = F.cosine_similarity(x, sentence[:, None], dim=-1)
    return ((gate * to_sentence + (1 - gate) * to_words) / TEMPERATURE).sigmoid()


def _existence(w: Weights, query: Tensor, refer: Tensor, pixels: Tensor, mask: Tensor,
               top_k: int) -> Tensor:
    token = w['query_nt.weight'].expand(len(query), 1, -1)
    token = _prior_layer(part(w, 'DETAttn'), token, query, query, refer[:, None])
    channels = pixels.shape[1]
    code = SinePositionalEncoding(channels // 2, normalize=True)(
        torch.zeros_like(mask[:, 0], dtype=torch.bool)).flatten(2).mT
    # Not transposed: the release reads the memory as rows of ``channels`` numbers.
    tokens = pixels.reshape(len(pixels), -1, channels)
    token = _prior_layer(part(w, 'SegAttn'), token, tokens + code, tokens,
                         mask.flatten(2))
    first = _mlp(w, 'distinguish_linear', token)[:, 0, 0].sigmoid()
    best = mask.flatten(1)
    best = best.topk(min(top_k, best.shape[1])).values.mean(1)
    return first * refer.amax(1) * best


def _prior_layer(w: Weights, x: Tensor, keys: Tensor, values: Tensor, scores: Tensor
                 ) -> Tensor:
    x = _norm(w, 'norm2', x + _attention(w, 'self_attn', x, x, x))
    hidden = _linear(w, 'cross_attn.score_mlp.0', scores[..., None]).relu()
    prior = _linear(w, 'cross_attn.score_mlp.2', hidden).movedim(-1, 1)
    q, k, v = (_split(_linear(w, f'cross_attn.{name}', tokens), HEADS)
               for name, tokens in (('q', x), ('k', keys), ('v', values)))
    read = _linear(w, 'cross_attn.proj', _join(_attend(q, k, v, prior)))
    x = _norm(w, 'norm1', x + read)
    return _norm(w, 'norm3', x + _linear(w, 'linear2', _linear(w, 'linear1', x).relu()))


def _attention(w: Weights, name: str, q: Tensor, k: Tensor, v: Tensor,
               mask: Tensor | float = 0.) -> Tensor:
    """Of torch's ``nn.MultiheadAttention``."""
    projected = [_split(F.linear(x, weight, bias), HEADS) for x, weight, bias in zip(
        (q, k, v), w[f'{name}.in_proj_weight'].chunk(3),
        w[f'{name}.in_proj_bias'].chunk(3), strict=True)]
    return _linear(w, f'{name}.out_proj', _join(_attend(*projected, mask)))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | float) -> Tensor:
    logits = (q * q.shape[-1] ** -0.5) @ k.mT + mask
    return logits.softmax(-1) @ v


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _join(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f'{name}.weight'], w.get(f'{name}.bias'))


def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f'{name}.weight'], w[f'{name}.bias'])


def _channel_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], w[f'{name}.weight'],
                        w[f'{name}.bias'], 1e-6).movedim(-1, 1)


def _double(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.conv_transpose2d(x, w[f'{name}.weight'], w[f'{name}.bias'], stride=2)


def _ffn(w: Weights, x: Tensor) -> Tensor:
    return _linear(w, 'ffns.0.layers.1', _linear(w, 'ffns.0.layers.0.0', x).relu())


def _mlp(w: Weights, name: str, x: Tensor) -> Tensor:
    x = _linear(w, f'{name}.layers.0', x).relu()
    return _linear(w, f'{name}.layers.2', _linear(w, f'{name}.layers.1', x).relu())


def _inverse_sigmoid(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return (x.clamp(min=1e-3) / (1 - x).clamp(min=1e-3)).log()

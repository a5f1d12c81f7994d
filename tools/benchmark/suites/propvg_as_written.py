"""Implement PropVG literally as its description says: a baseline for timing.

For the suite ``propvg``: attention by explicit products, multiway projections that are
concatenated again each time, deformable attention that projects all values, position
codes that nobody reads, costs of all queries with all objects of the batch, and
postprocessing with RLE encoding in each training step. Parameters are named as in the
model, so that both share weights.
"""
import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import SinePositionalEncoding
from mmpretrain.models.utils import LayerNorm2d
from pycocotools import mask as coco_masks
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmcontrast.models.layers import ChannelLayerNorm


class Multiway(nn.Module):
    """Section 2.4: copy A for the first tokens, copy B for the others."""

    def __init__(self, a: nn.Module, b: nn.Module):
        super().__init__()
        self.A, self.B = a, b

    def forward(self, x: Tensor, split: int) -> Tensor:
        first, second = x[:, :split], x[:, split:]
        return torch.cat([self.A(first), self.B(second)], 1)


class Attention(nn.Module):
    def __init__(self, ours: nn.Module):
        super().__init__()
        self.heads = ours.heads
        for name, child in ours.named_children():
            self.add_module(name, Multiway(child.A, child.B))

    def forward(self, x: Tensor, split: int, padding: Tensor) -> Tensor:
        batch, length, dims = x.shape
        q, k, v = (project(x, split) for project in (
            self.q_proj, self.k_proj, self.v_proj))
        q = q * (dims // self.heads) ** -0.5
        q, k, v = (y.view(batch, length, self.heads, -1).transpose(1, 2).reshape(
            batch * self.heads, length, -1) for y in (q, k, v))
        weights = torch.bmm(q, k.transpose(1, 2)).view(
            batch, self.heads, length, length)
        weights = weights.masked_fill(padding[:, None, None], -torch.inf)
        weights = F.softmax(weights, -1, torch.float32).view(-1, length, length)
        out = torch.bmm(weights, v).view(batch, self.heads, length, -1)
        out = out.transpose(1, 2).reshape(batch, length, dims)
        return self.out_proj(self.inner_attn_ln(out, split), split)


class Layer(nn.Module):
    def __init__(self, ours: nn.Module):
        super().__init__()
        self.self_attn, self.drop_path = Attention(ours.self_attn), ours.drop_path
        for name in ('self_attn_layer_norm', 'ffn', 'final_layer_norm'):
            child = getattr(ours, name)
            self.add_module(name, Multiway(child.A, child.B))

    def forward(self, x: Tensor, split: int, padding: Tensor) -> Tensor:
        y = self.self_attn(self.self_attn_layer_norm(x, split), split, padding)
        x = x + self.drop_path(y)
        return x + self.drop_path(self.ffn(self.final_layer_norm(x, split), split))


class Encoder(nn.Module):
    """Section 2.4."""

    def __init__(self, ours: nn.Module):
        super().__init__()
        self.text_embed, self.vision_embed = ours.text_embed, ours.vision_embed
        self.encoder = nn.Module()
        self.encoder.embed_positions = ours.encoder.embed_positions
        self.encoder.layers = nn.ModuleList(Layer(x) for x in ours.encoder.layers)
        norm = ours.encoder.layer_norm
        self.encoder.layer_norm = Multiway(norm.A, norm.B)

    def forward(self, images: Tensor, ids: Tensor, padding: Tensor
                ) -> tuple[Tensor, Tensor]:
        patches = self.vision_embed.proj(images)
        height, width = patches.shape[-2:]
        patches = patches.flatten(2).transpose(1, 2)
        cls = self.vision_embed.cls_token.expand(len(images), -1, -1)
        tables = self.encoder.embed_positions
        split, length = 1 + height * width, ids.shape[1]
        x = torch.cat([
            torch.cat([cls, patches], 1) + tables['A'].weight[2:2 + split],
            self.text_embed(ids) + tables['B'].weight[2:2 + length]], 1)
        padding = torch.cat([padding.new_zeros(len(images), split), padding], 1)
        x = x * (1 - padding[..., None].type_as(x))
        for layer in self.encoder.layers:
            x = layer(x, split, padding)
        x = self.encoder.layer_norm(x, split)
        image = x[:, 1:split].transpose(1, 2).reshape(len(images), -1, height, width)
        return image, x[:, split:]


class PriorAttention(nn.Module):
    """Section 2.7."""

    def __init__(self, ours: nn.Module):
        super().__init__()
        self.num_heads = ours.num_heads
        for name, child in ours.named_children():
            self.add_module(name, child)

    def forward(self, x: Tensor, keys: Tensor, scores: Tensor, code: Tensor | None
                ) -> Tensor:
        coded = keys if code is None else keys + code
        q, k, v = (layer(y).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
                   for layer, y in ((self.q, x), (self.k, coded), (self.v, keys)))
        bias = self.score_mlp(scores[..., None]).permute(0, 3, 1, 2)
        weights = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + bias
        out = weights.softmax(-1) @ v
        return self.proj(out.transpose(1, 2).flatten(2))


class Model(nn.Module):
    """Sections 2.4 to 2.8, of the same weights as ``ours``."""

    def __init__(self, ours: nn.Module):
        super().__init__()
        ours = copy.deepcopy(ours)
        self.encoder, self.head = Encoder(ours.encoder), plain_modules(ours.head)
        self.code = SinePositionalEncoding(
            ours.head.text_embedding.out_features // 2, normalize=True)

    def forward(self, images: Tensor, ids: Tensor, padding: Tensor) -> dict:
        head = self.head
        image, text = self.encoder(images, ids, padding)
        levels = head.pyramid(head.image_embedding(image))
        half = levels[0].shape[1] // 2
        proposals = self.propose([x[:, :half] for x in levels])
        pixels, low = head.mask_decoder([x[:, half:] for x in levels])
        query = head.refer_adapter(proposals.states)
        refer = head.refer_scoring(query, head.text_embedding(text), padding)
        exists = self.exists(query, refer, pixels, low.sigmoid())
        masks = F.interpolate(low, images.shape[-2:], mode='bilinear',
                              align_corners=True)
        return dict(logits=proposals.logits, boxes=proposals.boxes, refer=refer,
                    exists=exists, scores=refer * exists[:, None], masks=masks)

    def propose(self, levels: Sequence[Tensor]):
        """Codes and reference points of all pixels are computed and not used."""
        for level in levels:
            valid = level.new_zeros(len(level), *level.shape[-2:], dtype=torch.bool)
            self.code(valid)
        return self.head.proposal_decoder(levels)

    def exists(self, query: Tensor, refer: Tensor, pixels: Tensor, mask: Tensor
               ) -> Tensor:
        part = self.head.target_discrimination
        batch, channels, height, width = pixels.shape
        valid = pixels.new_zeros(batch, height, width, dtype=torch.bool)
        code = self.code(valid).flatten(2).transpose(1, 2)
        token = part.token.weight.expand(batch, 1, -1)
        token = part.object_layer(token, query, refer[:, None])
        tokens = pixels.reshape(batch, height * width, channels)
        token = part.semantic_layer(token, tokens, mask.flatten(2), code)
        top = min(part.train_top_k if part.training else part.top_k, height * width)
        certain = mask.flatten(1).topk(top).values.mean(1)
        return part.mlp(token)[:, 0, 0].sigmoid() * refer.amax(1) * certain

    def loss(self, images: Tensor, ids: Tensor, padding: Tensor, targets: dict
             ) -> Tensor:
        """Section 2.8, with what section 6 says of a training step."""
        targets = copy.deepcopy(targets)
        masks = torch.from_numpy(np.stack([
            coco_masks.decode(rle) for rle in targets['rles']])).to(images)
        found = self(images, ids, padding)
        matches = match(found['logits'][-1], found['boxes'][-1], targets['boxes'])
        meant = torch.zeros_like(found['refer'])
        for i, (queries, objects) in enumerate(matches):
            for query, index in zip(queries, objects, strict=True):
                meant[i, query] = float(targets['referred'][i][index])
        exists = torch.stack([x.any() for x in targets['referred']]).float()
        loss = (0.1 * set_loss(found, matches, targets['boxes'])
                + mask_loss(found['masks'], masks)
                + F.binary_cross_entropy(found['refer'], meant)
                + 0.2 * F.binary_cross_entropy(found['exists'], exists))
        with torch.no_grad():
            self.postprocess(found, images.shape[-1])
        return loss

    def postprocess(self, found: dict, size: int) -> list[dict]:
        """Boxes in pixels and masks as RLE, image by image."""
        results = []
        for boxes, scores, logits in zip(
                found['boxes'][-1], found['scores'], found['masks'], strict=True):
            mask = (logits[0].sigmoid() >= 0.5).cpu().numpy().astype(np.uint8)
            results.append(dict(
                boxes=(corners(boxes) * size).clamp(0, size), scores=scores,
                mask=coco_masks.encode(np.asfortranarray(mask))))
        return results


def plain_modules(head: nn.Module) -> nn.Module:
    """Exchange our own layers for those of torch, mmcv and mmpretrain."""
    for module in list(head.modules()):
        for name, child in list(module.named_children()):
            plain = plain_module(child)
            if plain is not None:
                setattr(module, name, plain)
    return head


def plain_module(module: nn.Module) -> nn.Module | None:
    if isinstance(module, ChannelLayerNorm):
        return LayerNorm2d(module.normalized_shape[0], eps=module.eps)
    if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
        return nn.Conv2d(module.in_channels, module.out_channels, 3, padding=1,
                         bias=False)
    if isinstance(module, MultiScaleDeformableAttention):
        return PlainDeformableAttention(
            module.embed_dims, module.num_heads, module.num_levels, module.num_points,
            dropout=module.dropout.p, batch_first=True)
    return PriorAttention(module) if hasattr(module, 'score_mlp') else None


class PlainDeformableAttention(MultiScaleDeformableAttention):
    """mmcv's, which only its compiled operator needs the starts of levels for."""

    def forward(self, *args, spatial_shapes: Tensor, **kwargs) -> Tensor:
        area = spatial_shapes.prod(1)
        kwargs['level_start_index'] = area.cumsum(0) - area
        return super().forward(*args, spatial_shapes=spatial_shapes, **kwargs)


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, objects: Sequence[Tensor]
          ) -> list[tuple[np.ndarray, np.ndarray]]:
    """All queries of the batch with all objects of the batch; blocks are used."""
    batch, queries = logits.shape[:2]
    every = torch.cat(list(objects))
    costs = (5 * torch.cdist(boxes.flatten(0, 1), every, p=1)
             - logits.flatten(0, 1).softmax(-1)[:, :1]
             - 2 * generalized_iou(boxes.flatten(0, 1)[:, None], every[None]))
    costs = costs.view(batch, queries, -1).cpu()
    blocks = costs.split([len(x) for x in objects], -1)
    return [linear_sum_assignment(block[i]) for i, block in enumerate(blocks)]


def set_loss(found: dict, matches: Sequence, objects: Sequence[Tensor]) -> Tensor:
    """The weights of the terms apply to the last layer alone."""
    batch = torch.cat([torch.full((len(q),), i) for i, (q, _) in enumerate(matches)])
    query = torch.cat([torch.as_tensor(q) for q, _ in matches])
    wanted = torch.cat([x[o] for x, (_, o) in zip(objects, matches, strict=True)])
    count, total = max(sum(len(x) for x in objects), 1), 0.0
    for i, (logits, boxes) in enumerate(zip(
            found['logits'], found['boxes'], strict=True)):
        labels = torch.ones(logits.shape[:2], dtype=torch.int64, device=logits.device)
        labels[batch, query] = 0
        entropy = F.cross_entropy(
            logits.transpose(1, 2), labels, logits.new_tensor([1, 0.1]))
        distance = (boxes[batch, query] - wanted).abs().sum() / count
        giou = (1 - generalized_iou(boxes[batch, query], wanted)).sum() / count
        last = i == len(found['logits']) - 1
        total = total + entropy + (5 if last else 1) * distance + (
            2 if last else 1) * giou
    return total


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    probs, masks = logits[:, 0].sigmoid().flatten(1), masks.flatten(1)
    dice = 1 - (2 * (probs * masks).sum(1) + 1) / (probs.sum(1) + masks.sum(1) + 1)
    return dice.mean() + F.binary_cross_entropy_with_logits(
        logits[:, 0].flatten(1), masks)


def corners(boxes: Tensor) -> Tensor:
    """cxcywh -> xyxy."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    boxes, others = corners(boxes), corners(others)
    least, most = torch.minimum, torch.maximum
    inner = (least(boxes[..., 2:], others[..., 2:])
             - most(boxes[..., :2], others[..., :2])).clamp(min=0).prod(-1)
    areas = [(x[..., 2:] - x[..., :2]).prod(-1) for x in (boxes, others)]
    union = areas[0] + areas[1] - inner
    hull = (most(boxes[..., 2:], others[..., 2:])
            - least(boxes[..., :2], others[..., :2])).prod(-1)
    return inner / (union + 1e-6) - (hull - union) / (hull + 1e-6)

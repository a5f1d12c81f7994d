"""Implement DenseCLIP literally as its released code does: a baseline for timing.

For the suite ``denseclip``: the text encoder runs for every class in every forward
pass, its weights get gradients, losses upsample all logits at once, box targets are
drawn one by one. Parameters are named as in the model, so that both share weights.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn


class TextTower(nn.Module):
    """Section 2.5: contexts after the start token, causal blocks, end token."""

    def __init__(self, width: int, heads: int, layers: int, length: int,
                 vocab_size: int, embed_dims: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(
            TextBlock(width, heads) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dims))

    def forward(self, tokens: Tensor, contexts: Tensor) -> Tensor:
        """(K, L) ids and (1, N, C) contexts -> (1, K, D)."""
        x = self.token_embedding(tokens)
        x = torch.cat([x[:, :1], contexts.expand(len(x), -1, -1), x[:, 1:]], dim=1)
        length = x.shape[1]
        x = (x + self.positional_embedding[:length]).transpose(0, 1)
        mask = torch.full((length, length), -torch.inf, device=x.device).triu(1)
        for block in self.transformer.resblocks:
            x = block(x, mask)
        x = self.ln_final(x.transpose(0, 1))
        ends = tokens.argmax(1) + contexts.shape[1]
        x = x[torch.arange(len(x), device=x.device), ends]
        return (x @ self.text_projection)[None]


class TextBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        self.mlp = nn.Module()
        self.mlp.c_fc = nn.Linear(width, 4 * width)
        self.mlp.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


class ImageTower(ModifiedResNet):
    """Section 2.3: four stages, and the pooling with all tokens as queries."""

    def __init__(self, layers: Sequence[int], width: int, embed_dims: int, heads: int,
                 input_size: int):
        super().__init__(list(layers), embed_dims, heads, input_size, width)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Images -> c2 to c5, global (B, D), local (B, D, H, W)."""
        maps, x = [], self.stem(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps, *self.pool(x)

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pool, (height, width) = self.attnpool, x.shape[-2:]
        table = pool.positional_embedding
        side = int((len(table) - 1) ** 0.5)
        grid = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, (height, width), mode='bilinear',
                             align_corners=False)
        table = torch.cat([table[:1], grid.flatten(2)[0].t()])
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + table[:, None]
        x, _ = F.multi_head_attention_forward(
            x, x, x, x.shape[-1], pool.num_heads, in_proj_weight=None,
            in_proj_bias=torch.cat(
                [pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
            out_proj_weight=pool.c_proj.weight, out_proj_bias=pool.c_proj.bias,
            need_weights=False, use_separate_proj_weight=True,
            q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
            v_proj_weight=pool.v_proj.weight)
        x = x.permute(1, 2, 0)
        return x[:, :, 0], x[:, :, 1:].unflatten(2, (height, width))


class ContextDecoder(nn.Module):
    """Section 2.6."""

    def __init__(self, dims: int, width: int = 256, heads: int = 4, layers: int = 3):
        super().__init__()
        self.memory_proj = nn.Sequential(
            nn.LayerNorm(dims), nn.Linear(dims, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(nn.LayerNorm(dims), nn.Linear(dims, width))
        self.decoder = nn.ModuleList(
            DecoderLayer(width, heads) for _ in range(layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dims))

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        x, memory = self.text_proj(text), self.memory_proj(visual)
        for layer in self.decoder:
            x = layer(x, memory)
        return self.out_proj(x)


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.cross_attn = Attention(width, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.self_attn(y, y)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        q, k, v = (projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for projection, x in ((self.q_proj, query), (self.k_proj, memory),
                                         (self.v_proj, memory)))
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        return self.dropout(self.proj((weights @ v).transpose(1, 2).flatten(2)))


class Segmentor(nn.Module):
    """Section 2.7: the two towers with neck and head of mmseg."""

    def __init__(self, backbone: ImageTower, text_encoder: TextTower,
                 context_decoder: ContextDecoder, neck: nn.Module,
                 decode_head: nn.Module, contexts: Tensor, tokens: Tensor):
        super().__init__()
        self.backbone, self.text_encoder = backbone, text_encoder
        self.context_decoder = context_decoder
        self.neck, self.decode_head = neck, decode_head
        self.contexts = nn.Parameter(torch.empty_like(contexts))
        self.gamma = nn.Parameter(torch.empty(text_encoder.text_projection.shape[1]))
        self.register_buffer('tokens', tokens, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the head, and the score map."""
        maps, whole, local = self.backbone(images)
        visual = torch.cat([whole[:, :, None], local.flatten(2)], 2).transpose(1, 2)
        text = self.text_encoder(self.tokens, self.contexts)
        text = text.expand(len(images), -1, -1)
        text = text + self.gamma * self.context_decoder(text, visual)
        scores = torch.einsum('bdhw,bkd->bkhw', F.normalize(local, dim=1),
                              F.normalize(text, dim=2))
        maps[3] = torch.cat([maps[3], scores], 1)
        return self.decode_head(self.neck(maps)), scores

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits, scores = self(images)
        return (cross_entropy(logits, labels)
                + 0.4 * cross_entropy(scores / 0.07, labels))

    def segment(self, images: Tensor) -> Tensor:
        """(B, K, H, W) logits at the size of the images."""
        return upsample(self(images)[0], images.shape[2:])


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(logits, tuple(size), mode='bilinear', align_corners=False)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over all pixels, ignored ones included, of the upsampled logits."""
    return F.cross_entropy(upsample(logits, labels.shape[1:]), labels,
                           ignore_index=255, reduction='none').mean()


def box_loss(logits: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]
             ) -> Tensor:
    """Section 2.8: targets box by box on the CPU; boxes in pixels, stride 4."""
    count, classes, height, width = logits.shape
    target = torch.zeros(count, classes, height, width)
    mask = torch.zeros(count, 1, height, width)
    for image in range(count):
        corners = (boxes[image].cpu() / 4).long()
        corners[:, 0::2].clamp_(0, width - 1)
        corners[:, 1::2].clamp_(0, height - 1)
        for (x1, y1, x2, y2), label in zip(
                corners.tolist(), labels[image].tolist(), strict=True):
            target[image, label, y1:y2, x1:x2] = 1
            mask[image, 0, y1:y2, x1:x2] = 1
    mask = mask.expand(-1, classes, -1, -1).contiguous().to(logits.device)
    loss = F.binary_cross_entropy(
        logits.sigmoid(), target.to(logits.device), reduction='none')
    return (loss * mask).sum() / mask.sum()

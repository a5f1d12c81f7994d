"""Attend to a few points of several maps; sample first, project afterwards."""
import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor


class SampledDeformableAttention(MultiScaleDeformableAttention):
    """mmcv's deformable attention for few queries and many values.

    Parameters, their names and the results are those of mmcv's module. It projects all
    values before it samples them; here the weighted sum of raw values is taken for
    each query and head, and only that is projected: both steps are linear. The bias
    enters as often as the weights of points inside of the maps add up to. With 20
    queries and 8500 values that leaves 1 % of the arithmetic. Compiled operators are
    not needed.

    Source: Zhu et al., "Deformable DETR", ICLR 2021, eq. 3.

    Args:
        args, kwargs: See mmcv's ``MultiScaleDeformableAttention``; ``batch_first`` is
            always true, and values are not widened (``value_proj_ratio``).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, 'batch_first': True})

    def forward(self, query: Tensor, key: Tensor | None = None,
                value: Tensor | None = None, identity: Tensor | None = None,
                query_pos: Tensor | None = None,
                key_padding_mask: Tensor | None = None,
                reference_points: Tensor | None = None,
                spatial_shapes: Tensor | None = None, **kwargs) -> Tensor:
        """Attended values, added to the query.

        Args:
            query: (B, Q, C).
            key: Not used; in the signature of mmcv's module.
            value: (B, N, C), the maps of all levels one after the other.
            identity: (B, Q, C) that is added to the result; None: ``query`` without its
                position.
            query_pos: (B, Q, C).
            key_padding_mask: (B, N) bool, True for values that count as zero.
            reference_points: (B, Q, L, 2) points (x, y) in [0, 1], or (B, Q, L, 4)
                boxes (x, y, w, h) that offsets are relative to.
            spatial_shapes: (L, 2) int64 heights and widths.

        Returns:
            (B, Q, C).
        """
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        points = self.sampling_points(query, reference_points, spatial_shapes)
        index, weights = bilinear_corners(points, spatial_shapes)
        weights = weights * self.point_weights(query)[..., None]
        # Corners of a head's points at all levels, one after the other.
        index, weights = index.flatten(3), weights.flatten(3)
        if key_padding_mask is not None:
            padded = key_padding_mask.gather(1, index.flatten(1)).view_as(index)
            weights = weights.masked_fill(padded, 0)
        sums = weighted_rows(value, index, weights)
        heads = self.project(sums, weights.sum(-1, keepdim=True))
        return self.dropout(self.output_proj(heads)) + identity

    def sampling_points(self, query: Tensor, reference: Tensor, shapes: Tensor
                        ) -> Tensor:
        """(B, Q, heads, L, points, 2) sampled positions (x, y), in cells.

        Cell (0, 0) has its center at 0.
        """
        offsets = self.sampling_offsets(query).float().view(
            *query.shape[:2], self.num_heads, self.num_levels, self.num_points, 2)
        size = shapes.flip(-1)[:, None]
        reference = reference[:, :, None, :, None]
        center = reference[..., :2] * size - 0.5
        if reference.shape[-1] == 4:
            return center + offsets * (reference[..., 2:] * size
                                       / (2 * self.num_points))
        return center + offsets

    def point_weights(self, query: Tensor) -> Tensor:
        """(B, Q, heads, L, points); they add up to 1 for each query and head."""
        logits = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        return logits.softmax(-1, torch.float32).unflatten(
            -1, (self.num_levels, self.num_points))

    def project(self, sums: Tensor, total: Tensor) -> Tensor:
        """Apply each head's rows of ``value_proj`` to its sum.

        Args:
            sums: (B, Q, heads, C) weighted sums of raw values.
            total: (B, Q, heads, 1) sums of the weights.

        Returns:
            (B, Q, C).
        """
        rows = self.value_proj.weight.unflatten(0, (self.num_heads, -1))
        bias = self.value_proj.bias.view(self.num_heads, -1)
        # q: query, h: head, c: channel of the values, d: channel of the head
        return (torch.einsum('bqhc,hdc->bqhd', sums, rows) + total * bias).flatten(2)


def bilinear_corners(points: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each point and what each contributes.

    Args:
        points: (B, Q, heads, L, points, 2) positions (x, y) in cells.
        shapes: (L, 2) heights and widths of the levels.

    Returns:
        Index into the cells of all levels, and weight, both (B, Q, heads, L, points,
        4). Cells outside of a map have weight 0 and the index of some cell inside.
    """
    whole = points.detach().floor()
    share = points - whole
    weights = torch.stack([1 - share, share], -1)  # of the near and the far cell
    sides = shapes.flip(-1)[:, None, :, None]
    cells = whole.long()[..., None] + torch.arange(2, device=points.device)
    weights = weights * ((cells >= 0) & (cells < sides))
    cells = torch.minimum(cells.clamp(min=0), sides - 1)
    area = shapes.prod(-1)
    starts = (area.cumsum(0) - area)[:, None, None, None]
    (x, y), (x_weight, y_weight) = cells.unbind(-2), weights.unbind(-2)
    index = starts + y[..., :, None] * sides[..., :1, :] + x[..., None, :]
    return index.flatten(-2), (y_weight[..., :, None] * x_weight[..., None, :]
                               ).flatten(-2)


def weighted_rows(value: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sum rows of ``value``, without ever holding a copy of each.

    Args:
        value: (B, N, C).
        index, weights: (B, Q, heads, K), which rows and how much of them.

    Returns:
        (B, Q, heads, C).
    """
    batch, length, channels = value.shape
    starts = length * torch.arange(batch, device=value.device)
    rows = (index + starts[:, None, None, None]).flatten(0, 2)
    sums = F.embedding_bag(
        rows, value.reshape(-1, channels), mode='sum',
        per_sample_weights=weights.flatten(0, 2).to(value.dtype))
    return sums.view(*index.shape[:3], channels)

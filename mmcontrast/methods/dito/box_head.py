"""Turn RoI features into text-aligned embeddings and class-agnostic boxes."""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.layers import ChannelLayerNorm
from ...registry import MODELS
from .normed import NormedLinear
from .options import check_number
from .scores import cosine_logits


@MODELS.register_module()
class TextBoxHead(BaseModule):
    """Box head that classifies by the cosine with text embeddings.

    Convolutions ``conv{i}`` with LayerNorm ``ln{i}`` and ReLU, a hidden layer ``fc``
    with ``fc_ln`` and ReLU, then ``box_predict`` for deltas and ``class_predict``, a
    normalized layer without bias, for embeddings. The layers are named as in the
    golden cases.

    Source: DITO (arXiv 2310.00161), the released code. The pretraining trains the same
    head, except ``box_predict`` and ``temperature``, which it leaves as they are.

    Args:
        in_channels: Channels of RoI features.
        roi_size: Their rows and columns.
        num_convs: Number of convolutions.
        conv_channels: Their width.
        fc_channels: Width of the hidden layer.
        embed_dims: D, that of the text embeddings.
        temperature_scale: The logits are cosines divided by this and by the learned
            ``temperature``, which starts at 1.
    """

    def __init__(self, in_channels: int = 256, roi_size: int = 7, num_convs: int = 4,
                 conv_channels: int = 256, fc_channels: int = 1024,
                 embed_dims: int = 768, temperature_scale: float = 0.01,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        check_number('bbox_head.temperature_scale', temperature_scale, float, 1e-4)
        self.num_convs, self.embed_dims = num_convs, embed_dims
        self.temperature_scale = temperature_scale
        width = in_channels
        for i in range(num_convs):
            self.add_module(f'conv{i}', nn.Conv2d(width, conv_channels, 3, padding=1))
            self.add_module(f'ln{i}', ChannelLayerNorm(conv_channels))
            width = conv_channels
        self.fc = nn.Linear(width * roi_size ** 2, fc_channels)
        self.fc_ln = nn.LayerNorm(fc_channels, eps=1e-6)
        self.box_predict = nn.Linear(fc_channels, 4)
        self.class_predict = NormedLinear(fc_channels, embed_dims)
        self.temperature = nn.Parameter(torch.ones(1))
        self._draw_weights()

    def forward(self, roi_feats: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and deltas of RoIs.

        Args:
            roi_feats: (N, C, s, s).

        Returns:
            (N, D) embeddings, not L2-normalized, and (N, 4) deltas dy, dx, dh, dw as
            :class:`DeltaYXHWBoxCoder` decodes them.
        """
        x = roi_feats
        for i in range(self.num_convs):
            x = getattr(self, f'ln{i}')(getattr(self, f'conv{i}')(x)).relu()
        # (c, y, x) order whatever the memory format is.
        x = self.fc_ln(self.fc(x.flatten(1))).relu()
        return self.class_predict(x), self.box_predict(x)

    def logits(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Cosine with each text over the temperature, in float32.

        Args:
            embeddings: (..., D), as from :meth:`forward`.
            text: (K, D), in any length; a zero row gets the logit 0.

        Returns:
            (..., K), in the order of ``text``.
        """
        return cosine_logits(embeddings, text,
                             self.temperature_scale * self.temperature)

    def _draw_weights(self):
        for i in range(self.num_convs):
            conv = getattr(self, f'conv{i}')
            nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(conv.bias)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.normal_(self.box_predict.weight, std=0.001)
        nn.init.normal_(self.class_predict.weight, std=0.01)
        for layer in (self.fc, self.box_predict):
            nn.init.zeros_(layer.bias)

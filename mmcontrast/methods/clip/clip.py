"""Train CLIP from scratch with the towers and the contrastive loss of open_clip."""
import math
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from open_clip.loss import ClipLoss
from open_clip.model import CLIP as OpenCLIP
from torch import Tensor
from torch.nn import functional as F

from ...models.text import answer_questions, tokenize
from ...registry import MODELS
from .mosaic import add_dense_pool, encode_cells

MAX_LOGIT_SCALE = 100.
"""Upper bound of the learned inverse temperature, as in the paper."""


@MODELS.register_module()
class CLIP(BaseModel):
    """An image tower and a text tower, trained to match images and texts.

    Source: "Learning Transferable Visual Models From Natural Language Supervision",
    Radford et al., ICML 2021; model and loss are open_clip's. Their weights lie below
    ``clip.`` under OpenAI's names.

    Every rank compares its own images and texts with those of all ranks, so that memory
    grows with the world batch and not with its square; loss and gradients, averaged
    over ranks, are those of one process with the joint batch.

    Args:
        architecture: ``embed_dim``, ``vision_cfg``, ``text_cfg``, ``quick_gelu``: what
            a model config of open_clip holds.
        zero_init_residual: Initialize the residual branches of a ResNet to zero, as
            CLIP does. Too slow for a run of a few thousand steps.
        mosaics: Sides of mosaics, for localized feature maps; each step draws one. At
            1 images are compared with texts as usual. At s, s x s of them become one
            image, and each is compared by one cell of the map, see
            :func:`~.mosaic.encode_cells`; s squared must divide the batch.
        data_preprocessor: Config of the preprocessor.
    """

    def __init__(self, architecture: Mapping, zero_init_residual: bool = True,
                 mosaics: Sequence[int] = (1,),
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.clip = OpenCLIP(**architecture)
        self.mosaics = tuple(mosaics)
        if self.mosaics != (1,):
            add_dense_pool(self.clip, self.mosaics)
        if not zero_init_residual:
            for name, parameter in self.clip.visual.named_parameters():
                if name.endswith('bn3.weight'):
                    torch.nn.init.ones_(parameter)
        # A third faster on a CPU, and the layout of tensor cores.
        self.clip.visual.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] = (),
                mode: str = 'tensor'):
        """Compute losses, answers or image embeddings.

        Args:
            inputs: (N, 3, H, W) normalized images.
            data_samples: N samples, with a ``text`` (``loss``), or with ``questions``
                (``predict``).
            mode: ``loss`` gives named scalars, ``predict`` the samples with
                ``answers``, ``tensor`` (N, D) normalized embeddings.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.encode_images(inputs)
        raise ValueError(
            f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def loss(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """``loss_contrastive``, and the logit scale for the log."""
        log_scale = self.clip.logit_scale
        with torch.no_grad():
            log_scale.clamp_(0, math.log(MAX_LOGIT_SCALE))
        criterion = ClipLoss(local_loss=True, gather_with_grad=True, rank=get_rank(),
                             world_size=get_world_size())
        scale = log_scale.exp()
        side = self.mosaics[int(torch.randint(len(self.mosaics), ()))]
        images = (self.encode_images(inputs) if side == 1 else
                  encode_cells(self.clip.visual, inputs, side))
        loss = criterion(
            images, self.encode_texts([sample.text for sample in data_samples]), scale)
        return dict(loss_contrastive=loss, logit_scale=scale.detach())

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]
                ) -> list[BaseDataElement]:
        """Choose the best text for every question about every image."""
        return answer_questions(
            self.encode_images(inputs), data_samples, self.encode_texts)

    def encode_images(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalized images -> (N, D) normalized embeddings."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.clip.encode_image(images, normalize=True)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """K texts -> (K, D) normalized embeddings.

        Positions behind the longest text are left out: with the causal mask nothing
        depends on them.
        """
        clip = self.clip
        tokens = tokenize(texts, clip.context_length)
        ends = tokens.argmax(1)
        length, device = int(ends.max()) + 1, clip.logit_scale.device
        tokens, ends = tokens[:, :length].to(device), ends.to(device)
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        x = clip.ln_final(x)[torch.arange(len(x)), ends] @ clip.text_projection
        return F.normalize(x, dim=-1)

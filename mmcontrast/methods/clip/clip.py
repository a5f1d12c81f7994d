"""CLIP trained from scratch: two towers of open_clip and their contrastive loss."""
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

from ...models.text import tokenize
from ...registry import MODELS
from .mosaic import add_dense_pool, encode_cells

LARGEST_SCALE = 100.
"""Of the cosines, as in the paper: training does not get sharper than this."""


@MODELS.register_module()
class CLIP(BaseModel):
    """An image tower and a text tower, trained to tell which text fits which image.

    Source: "Learning Transferable Visual Models From Natural Language Supervision",
    Radford et al., ICML 2021; model and loss are open_clip's. Their weights lie below
    ``clip.`` under OpenAI's names.

    Every rank compares its own images and texts with those of all ranks, so that memory
    grows with the world batch and not with its square; loss and gradients, averaged
    over ranks, are those of one process with the joint batch.

    Args:
        architecture: ``embed_dim``, ``vision_cfg``, ``text_cfg``, ``quick_gelu``: what
            a model config of open_clip holds.
        zero_init_residual: Start the residual branches of a ResNet at zero, as CLIP
            does. In a run of some thousand steps they open too late.
        mosaics: Sides of mosaics, for maps that know where; each step draws one. At 1
            images are compared with texts as usual. At s, s x s of them become one
            picture, and each is compared by one cell of the map, see
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
        # A third faster on a CPU, and what tensor cores read.
        self.clip.visual.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] = (),
                mode: str = 'tensor'):
        """Losses, answers or image embeddings.

        Args:
            inputs: (N, 3, H, W) normalized images.
            data_samples: N samples, with a ``text`` (``loss``), or with ``questions``
                (``predict``).
            mode: ``loss`` gives named scalars, ``predict`` the samples with
                ``answers``, ``tensor`` (N, D) unit vectors.
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
        """``loss_contrastive``, and the scale of the cosines to watch."""
        log_scale = self.clip.logit_scale
        with torch.no_grad():
            log_scale.clamp_(0, math.log(LARGEST_SCALE))
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
        """Choose the best text for every question of every image."""
        texts = list(dict.fromkeys(
            text for sample in data_samples
            for choices, _ in sample.questions.values() for text in choices))
        places = {text: place for place, text in enumerate(texts)}
        # n: image, k: text
        cosines = (self.encode_images(inputs) @ self.encode_texts(texts).T).cpu()
        for row, sample in zip(cosines.numpy(), data_samples, strict=True):
            sample.answers = {
                name: int(row[[places[text] for text in choices]].argmax())
                for name, (choices, _) in sample.questions.items()}
        return list(data_samples)

    def encode_images(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalized images -> (N, D) unit vectors."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.clip.encode_image(images, normalize=True)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """K texts -> (K, D) unit vectors.

        Positions after the longest text are left out: with the causal mask nothing
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

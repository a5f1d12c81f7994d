"""Pretrain the parts of a detector on image-text pairs, whole images or regions."""
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...errors import UserValueError
from ...models.functional import at_least_float, l2_normalize
from ...models.text import answer_questions, tokenize
from ...registry import MODELS
from .captions import drawn_captions
from .region_embeddings import POOLS, region_embeddings
from .regions import whole_image

REDUCTIONS = dict(mean=torch.mean, sum=torch.sum)


@MODELS.register_module()
class DITOPretraining(BaseModel):
    """Contrast images, and regions of every pyramid level, with their texts.

    Source: Kim et al., arXiv 2310.00161, whose pretraining code is not released. Stage
    A, image level, is that of RO-ViT (CVPR 2023): the mean of the backbone's map
    against the text. Stage B, region level, adds ``neck`` and ``box_head``: random
    boxes are cropped from the map of their own level, the embeddings that the box head
    gives them are pooled over a level, and every level is contrasted with the text.

    What is frozen is said where it is built: ``frozen=True`` of the backbone and of the
    text encoder. No gradient is computed for a frozen backbone or text encoder. The box
    head's ``box_predict`` and ``temperature`` have no loss here and stay as drawn.

    Args:
        backbone: :class:`PlainViT`, or its config.
        text_encoder: :class:`CLIPTextEncoder`, or its config.
        neck: :class:`SimpleFeaturePyramid` or its config; None for stage A. Channels
            follow from the parts before, here and in ``box_head``.
        box_head: :class:`TextBoxHead` or its config; None for stage A.
        regions: Sampler of the regions: :class:`RandomRegions` (the type where none is
            given) or :class:`GridRegions`.
        roi_crop: :class:`PyramidRoICrop`; its strides are those of the neck.
        positions: :class:`CroppedPositions`, to add the position embeddings of a random
            region to every training image; None for those of the whole.
        loss: :class:`ContrastiveLoss`.
        logit_scale: :class:`LogitScale`, the inverse temperature.
        per_level_scale: Learn a scale for every term instead of one for all.
        pool: 'max' (paper) or 'mean' of embeddings over the regions of a level.
        level_reduction: 'mean' or 'sum' of the losses of the levels; the paper adds
            them up.
        image_weight: Weight of the image term. None: 1, or 0 where only neck and box
            head are trained. A trained backbone or projection needs it: scores of
            regions at test time rest on means of the map.
        train_projection: Train the projection of a backbone ``with_projection``, which
            is fixed otherwise. For projections that do not come from CLIP.
        data_preprocessor: Config of the preprocessor.

    Raises:
        ValueError: If widths or levels of the parts do not fit together.
    """

    def __init__(self, backbone: dict, text_encoder: dict, neck: dict | None = None,
                 box_head: dict | None = None, regions: dict | None = None,
                 roi_crop: dict | None = None, positions: dict | None = None,
                 loss: dict | None = None, logit_scale: dict | None = None,
                 per_level_scale: bool = False, pool: str = 'max',
                 level_reduction: str = 'mean', image_weight: float | None = None,
                 train_projection: bool = False, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        _check_choice('pool', pool, POOLS)
        _check_choice('level_reduction', level_reduction, REDUCTIONS)
        if (neck is None) != (box_head is None):
            raise UserValueError(
                'neck and box_head belong together: give both for regions (stage B), '
                'or neither for whole images (stage A).')
        self.pool, self.level_reduction = pool, level_reduction
        self.backbone = _build(backbone)
        self.text_encoder = _build(text_encoder)
        self.positions = None if positions is None else _build(positions)
        self.levels: tuple[str, ...] = ()
        if neck is not None:
            self._build_region_parts(neck, box_head, regions, roi_crop)
        self._prepare_image_term(image_weight, train_projection)
        self.criterion = _build(loss, type='ContrastiveLoss')
        terms = len(self.levels) + bool(self.image_weight)
        self.logit_scale = _build(
            logit_scale, type='LogitScale',
            **dict(levels=terms) if per_level_scale else {})

    def _build_region_parts(self, neck: dict, box_head: dict, regions: dict,
                            roi_crop: dict) -> None:
        dims = self.text_encoder.embed_dims
        self.neck = _build(neck, in_channels=self.backbone.width,
                           patch_stride=self.backbone.stride)
        self.box_head = _build(
            box_head, in_channels=self.neck.out_channels, embed_dims=dims)
        self.regions = _build(regions, type='RandomRegions')
        self.roi_crop = _build(roi_crop, type='PyramidRoICrop',
                               featmap_strides=self.neck.strides)
        self.levels = tuple(f'p{level}' for level in self.neck.levels)
        if self.regions.num_levels != len(self.levels):
            raise UserValueError(
                f'regions has counts for {self.regions.num_levels} levels, the neck '
                f'has {len(self.levels)}: {", ".join(self.levels)}. Give one count a '
                'level.')
        if self.box_head.embed_dims != dims:
            raise UserValueError(
                f'The box head gives embeddings of {self.box_head.embed_dims} channels '
                f'and the text encoder of {dims}. Leave embed_dims of box_head out.')
        # No loss reaches them; DistributedDataParallel would wait for their gradients.
        self.box_head.box_predict.requires_grad_(False)
        self.box_head.temperature.requires_grad_(False)

    def _prepare_image_term(self, weight: float | None, train_projection: bool
                            ) -> None:
        backbone, trained = self.backbone, _is_trained(self.backbone)
        needed = trained or train_projection or not self.levels
        weight = float(needed) if weight is None else weight
        if weight < 0 or needed and not weight:
            raise UserValueError(
                f'image_weight={weight}: the image term is all there is without a neck '
                'and a box head, and a trained backbone or projection needs it, as '
                'scores at test time compare means of the map with texts. Give a '
                'positive weight, or freeze the backbone (frozen=True) for regions '
                'alone.')
        dims = self.text_encoder.embed_dims
        if weight and backbone.embed_dims != dims:
            raise UserValueError(
                f'The mean of the map of {type(backbone).__name__} has '
                f'{backbone.embed_dims} channels after its projection, if any, and the '
                f'text encoder gives {dims}. Use a text encoder of that width, or a '
                'linear projection: backbone=dict(with_projection=True, embed_dims='
                f'{dims}), with train_projection=True unless it comes from CLIP.')
        if train_projection:
            if not backbone.with_projection:
                raise UserValueError('train_projection=True needs a backbone '
                                     'with_projection=True.')
            backbone.proj.requires_grad_(True)
        self.image_weight = weight

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] = (),
                mode: str = 'tensor'):
        """Compute losses, answers or image embeddings.

        Args:
            inputs: (B, 3, H, W) normalized images.
            data_samples: B samples, with a ``text``, one string or a list of which one
                is drawn (``loss``), or with ``questions`` (``predict``).
            mode: ``loss`` gives named scalars, ``predict`` the samples with
                ``answers``, ``tensor`` (B, D) normalized embeddings.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.encode_images(inputs)
        raise UserValueError(
            f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def loss(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """``loss_image`` and ``loss_region``; for the log each level and the scales."""
        text = self.encode_texts(drawn_captions(data_samples))
        visual = self.encode(inputs, *self.draw(len(inputs), inputs.device))
        scale = self.logit_scale()
        losses = self.criterion(visual, text, scale, self.logit_scale.bias)
        return self._named(losses, scale.detach())

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement]
                ) -> list[BaseDataElement]:
        """Choose the best text for every question about every image."""
        return answer_questions(
            self.encode_images(inputs), data_samples, self.encode_texts)

    def draw(self, num_images: int, device=None
             ) -> tuple[list[Tensor] | None, Tensor | None]:
        """Uniform numbers for the regions, and for the positions; None if unused."""
        return (self.regions.draw(num_images, device) if self.levels else None,
                self.positions.draw(num_images, device) if self.positions else None)

    def encode(self, images: Tensor, region_draws: Sequence[Tensor] | None,
               position_draws: Tensor | None = None) -> Tensor:
        """Embeddings of what is contrasted: the levels, then the whole image.

        Args:
            images: (B, 3, H, W) normalized.
            region_draws, position_draws: From :meth:`draw`.

        Returns:
            (L, B, D), not normalized; the image term only with a weight.
        """
        feature = self.extract_map(images, position_draws)
        terms = []
        if self.levels:
            boxes = self.regions(region_draws, *images.shape[-2:])
            terms = [POOLS[self.pool](embeds)
                     for embeds in self.encode_regions(feature, boxes)]
        if self.image_weight:
            terms.append(self.pool_map(feature))
        return torch.stack([at_least_float(term) for term in terms])

    def extract_map(self, images: Tensor, position_draws: Tensor | None = None
                    ) -> Tensor:
        """(B, 3, H, W) images -> (B, C, h, w) map; no gradient if frozen."""
        with nullcontext() if _is_trained(self.backbone) else torch.no_grad():
            positions = None
            if position_draws is not None:
                height, width = (-(-side // self.backbone.stride)
                                 for side in images.shape[-2:])
                positions = self.positions(self.backbone.positional_embedding,
                                           position_draws, height, width)
            return self.backbone(images, positions)[-1]

    def pool_map(self, feature: Tensor) -> Tensor:
        """Mean over the map, (B, C, h, w) -> (B, D), projected where there is one."""
        return self.backbone.project(at_least_float(feature).mean((2, 3)))

    def encode_regions(self, feature: Tensor, boxes: Sequence[Tensor]
                       ) -> list[Tensor]:
        """(B, N, D) embeddings of the (B, N, 4) boxes in pixels, for every level."""
        return region_embeddings(
            self.neck(feature), boxes, self.roi_crop, self.box_head)

    def _named(self, losses: Tensor, scale: Tensor) -> dict[str, Tensor]:
        count, named = len(self.levels), {}
        terms = [f'_{level}' for level in self.levels] + ['_image']
        if self.image_weight:
            named['loss_image'] = self.image_weight * losses[-1]
        if count:
            named['loss_region'] = REDUCTIONS[self.level_reduction](losses[:count])
            named |= {f'region{term}': each for term, each in zip(
                terms, losses[:count].detach(), strict=False)}
        scales = scale.expand(1) if not scale.ndim else scale
        names = terms if scale.ndim else ['']
        return named | {f'logit_scale{name}': each
                        for name, each in zip(names, scales, strict=False)}

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized images -> (B, D) normalized embeddings.

        Of the mean of the map, or with a box head of the box of the whole image: the
        mean of its normalized embeddings on all levels.
        """
        feature = self.extract_map(images)
        if not self.levels:
            return l2_normalize(self.pool_map(feature), -1)
        whole = whole_image(len(images), *images.shape[-2:], images.device)
        embeds = torch.cat(
            self.encode_regions(feature, [whole] * len(self.levels)), dim=1)
        return l2_normalize(l2_normalize(embeds, -1).mean(1), -1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """K texts -> (K, D) embeddings, not normalized; no gradient if frozen.

        Captions that are longer than the context are truncated, as in open_clip.
        """
        encoder = self.text_encoder
        tokens = tokenize(texts, encoder.context_length, truncate=True)
        with nullcontext() if _is_trained(encoder) else torch.no_grad():
            return encoder(tokens)

    def _load_from_state_dict(self, state: dict, prefix: str, *args) -> None:
        """The one scale of a checkpoint becomes that of every level."""
        for name, own in self.logit_scale.named_parameters():
            key = f'{prefix}logit_scale.{name}'
            if key in state and state[key].numel() == 1:
                state[key] = state[key].reshape(1).expand(own.numel()).reshape(
                    own.shape).clone()
        super()._load_from_state_dict(state, prefix, *args)


def _build(part: dict | nn.Module | None, **default) -> nn.Module:
    """Build a part from its config over defaults, which may follow from other parts."""
    if isinstance(part, nn.Module):
        return part
    return MODELS.build(default | dict(part or {}))


def _is_trained(part: nn.Module) -> bool:
    """Whether anything of it is trained, the projection apart."""
    return any(p.requires_grad for name, p in part.named_parameters() if name != 'proj')


def _check_choice(name: str, value: str, known: dict) -> None:
    if value not in known:
        raise UserValueError(f'{name} must be one of {tuple(known)}, got {value!r}.')

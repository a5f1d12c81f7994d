"""Detect objects of any classes that are named by text: the two-stage DITO detector."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmdet.models.detectors import TwoStageDetector
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...datasets.open_vocabulary import plain_name
from ...errors import UserKeyError, UserValueError, did_you_mean
from ...models.functional import l2_normalize
from ...models.text.class_texts import ClassTexts
from ...models.text.stored_texts import StoredClassTexts
from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .roi_head import rois_of
from .scores import cosine_logits

Classes = str | Path | Sequence | Mapping | Vocabulary


@MODELS.register_module()
class DITODetector(TwoStageDetector):
    """A two-stage detector that compares regions with class texts.

    Trained with the boxes of some classes, it detects any others: at test time the
    vocabulary is ``test_class_names``, or what :meth:`set_classes` sets. Scores of
    regions are fused with those of a frozen copy of the pretrained ViT, which keeps
    what fine-tuning forgets.

    Source: "Region-centric Image-Language Pretraining for Open-Vocabulary Detection",
    Kim, Angelova and Kuo, ECCV 2024 (arXiv 2310.00161), and the detector of its
    release. Differences: boxes are clipped to the image (``clip_to`` of the heads), the
    shift of the frozen copy is a setting of its own, and rows that pad the released
    arrays of ground truth are not sampled.

    Args:
        backbone: Config of a :class:`PlainViT`. Without ``vlm`` and score maps any
            backbone with one map serves.
        neck: Config of a :class:`SimpleFeaturePyramid`.
        rpn_head: Config of a :class:`CenternessRPNHead`, or of a head of mmdet.
        roi_head: Config of a :class:`TextRoIHead`.
        class_names: The classes of the training labels, as for
            :func:`read_vocabulary`.
        text_encoder: Config of a :class:`CLIPTextEncoder`; it stays frozen.
        text_embeddings: Instead of it a ``.npy`` file with the embeddings of
            ``text_vocabulary``, see :class:`StoredClassTexts`.
        text_vocabulary: Classes of the rows of that file; None for ``class_names``.
        templates: Prompt templates, as for :func:`read_templates`.
        background: What regions without an object are compared with: a text, or with
            ``text_embeddings`` the ``.npy`` file of its embedding. None: a learned
            vector.
        test_class_names: Classes at test time; None for ``class_names``.
        base_classes: Classes whose scores are fused with the exponents of trained ones.
            None: those of ``class_names``. An empty list treats all as novel, as the
            released evaluation does.
        vlm: Config of the frozen copy, as far as it differs from ``backbone``
            (``windows``, ``init_cfg``); None for the scores of the detector alone.
        train_cfg, test_cfg: ``rpn``, ``rpn_proposal`` and ``rcnn``, as in mmdet.
        data_preprocessor, init_cfg: See mmdet.

    Raises:
        ValueError: If both or neither of ``text_encoder`` and ``text_embeddings`` are
            given, the widths of texts, box head and frozen copy or the strides of the
            parts differ, or a base class is neither trained nor tested.
    """

    def __init__(self, *, backbone: dict, neck: dict, rpn_head: dict, roi_head: dict,
                 class_names: Classes, text_encoder: dict | None = None,
                 text_embeddings: str | None = None,
                 text_vocabulary: Classes | None = None,
                 templates: str | Sequence[str] = 'imagenet',
                 background: str | None = '.',
                 test_class_names: Classes | None = None,
                 base_classes: Classes | None = None, vlm: dict | None = None,
                 train_cfg: dict | None = None, test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        _check_parts(train_cfg, test_cfg)
        # Names without a scope are ours, whatever the Runner's default is.
        with DefaultScope.overwrite_default_scope('mmcontrast'):
            super().__init__(
                backbone=backbone, neck=neck, rpn_head=rpn_head, roi_head=roi_head,
                train_cfg=train_cfg and ConfigDict(train_cfg),
                test_cfg=ConfigDict(dict(rpn=None, rcnn=None) | (test_cfg or {})),
                data_preprocessor=data_preprocessor, init_cfg=init_cfg)
            self.vlm = _frozen(dict(backbone, **vlm)) if vlm is not None else None
        _check_texts(text_encoder, text_embeddings, background)
        self.class_texts = (
            ClassTexts(class_names, text_encoder, templates=templates,
                       background=background) if text_embeddings is None else
            StoredClassTexts(class_names, text_embeddings, background, text_vocabulary))
        self.background = None if background is not None else nn.Parameter(
            torch.randn(self.class_texts.embed_dims))
        self._check_widths()
        self._check_strides()
        self.test_vocabulary = (self.class_texts.trained_vocabulary
                                if test_class_names is None
                                else read_vocabulary(test_class_names))
        trained = _folded_names(self.class_texts.trained_vocabulary)
        self._base_names = trained if base_classes is None else _folded_names(
            base_classes, trained | _folded_names(self.test_vocabulary))
        self.set_classes(self.test_vocabulary)

    @property
    def class_names(self) -> list[str]:
        """The classes of the predictions, in the order of the labels."""
        return self.test_vocabulary.names

    @property
    def trained_class_names(self) -> list[str]:
        """The classes of the training labels, in their order."""
        return self.class_texts.trained_vocabulary.names

    def set_classes(self, class_names: Classes | None) -> None:
        """Detect other classes from now on, without training; None for the trained.

        Raises:
            ValueError: If a name is longer than the text encoder has positions, or has
                no stored embedding.
        """
        vocabulary = (self.class_texts.trained_vocabulary if class_names is None
                      else read_vocabulary(class_names))
        with self.class_texts.temporarily(vocabulary):
            pass  # refused now rather than at the first image
        self.test_vocabulary = vocabulary
        is_base = [any(plain_name(name).lower() in self._base_names for name in names)
                   for names in vocabulary.synonyms]
        device = next(self.parameters()).device
        self.register_buffer('_is_base', torch.tensor(is_base, device=device),
                             persistent=False)
        if not self.training:
            self.class_texts.set_vocabulary(vocabulary)

    def train(self, mode: bool = True):
        """Training labels are the trained classes, predictions those of the test."""
        super().train(mode)
        if self.vlm is not None:
            self.vlm.eval()
        self.class_texts.set_vocabulary(None if mode else self.test_vocabulary)
        return self

    def text_embeds(self) -> Tensor:
        """(K + 1, D) embeddings of the current classes and the background."""
        embeds = self.class_texts()
        if self.background is None:
            return embeds
        return torch.cat([embeds, l2_normalize(self.background[None], dim=1)])

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence
             ) -> dict[str, Tensor]:
        """Losses of proposals and regions.

        Args:
            batch_inputs: (B, 3, H, W), normalized and padded.
            batch_data_samples: mmdet's ``DetDataSample`` with ``gt_instances``.
        """
        x = self.extract_feat(batch_inputs)
        losses, proposals = self.rpn_head.loss_and_predict(
            x, batch_data_samples,
            proposal_cfg=self.train_cfg.get('rpn_proposal', self.test_cfg.rpn))
        return losses | self.roi_head.loss(
            x, proposals, batch_data_samples, text=self.text_embeds())

    def predict(self, batch_inputs: Tensor, batch_data_samples: Sequence,
                rescale: bool = True) -> Sequence:
        """Detections as mmdet gives them: samples with ``pred_instances``."""
        x = self.extract_feat(batch_inputs)
        results = self.roi_head.predict(
            x, self._proposals(x, batch_data_samples), batch_data_samples,
            text=self.text_embeds(), vlm_map=self.vlm_map(batch_inputs),
            base=self._is_base, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    @torch.no_grad()
    def vlm_map(self, images: Tensor) -> Tensor | None:
        """(B, D, h, w) of the frozen copy in the space of the texts."""
        if self.vlm is None:
            return None
        return self.vlm.project(self.vlm(images)[-1], dim=1)

    @torch.no_grad()
    def score_map(self, images: Tensor) -> Tensor:
        """(B, K, h, w) cosines of cells of the frozen copy, or of the backbone where
        there is none, with the class texts."""
        feature = (self.backbone.project(self.backbone(images)[-1], dim=1)
                   if self.vlm is None else self.vlm_map(images))
        text = l2_normalize(self.text_embeds()[:-1], dim=1)
        return torch.einsum('bdhw,kd->bkhw', l2_normalize(feature, dim=1), text)

    @torch.no_grad()
    def match_regions(self, images: Tensor, data_samples: Sequence
                      ) -> list[InstanceData]:
        """Cosines of proposed regions with the class texts, by the box head.

        Args:
            images: (B, 3, H, W), normalized.
            data_samples: mmdet's samples.

        Returns:
            For each image ``bboxes`` (N, 4) in pixels of the input, ``scores`` (N,) of
            the proposals and ``cosines`` (N, K).
        """
        x = self.extract_feat(images)
        found = self._proposals(x, data_samples)
        embeds, deltas = self.roi_head(x, rois_of([part.bboxes for part in found]))
        cosines = cosine_logits(embeds, self.text_embeds()[:-1], 1.0)
        for part, rows, moved in zip(
                found, *(x.split([len(part) for part in found])
                         for x in (cosines, deltas)), strict=True):
            part.cosines = rows
            part.bboxes = self.roi_head.box_coder.decode(
                part.bboxes, moved, images.shape[-2:])
        return found

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Sequence) -> tuple:
        """Proposals, and logits and deltas of them, without postprocessing."""
        x = self.extract_feat(batch_inputs)
        proposals = self._proposals(x, batch_data_samples)
        rois = rois_of([found.bboxes for found in proposals])
        embeds, deltas = self.roi_head(x, rois)
        return rois, self.roi_head.bbox_head.logits(embeds, self.text_embeds()), deltas

    def _proposals(self, x: Sequence[Tensor], batch_data_samples: Sequence) -> list:
        if batch_data_samples[0].get('proposals', None) is not None:
            return [sample.proposals for sample in batch_data_samples]
        return self.rpn_head.predict(x, batch_data_samples, rescale=False)

    def _check_widths(self) -> None:
        wanted = self.class_texts.embed_dims
        found = {'roi_head.bbox_head.embed_dims': self.roi_head.bbox_head.embed_dims}
        if self.vlm is not None:
            if not hasattr(self.vlm, 'project'):
                raise UserValueError(
                    'vlm needs a PlainViT as the backbone, whose map a projection '
                    f'takes to the texts; got a {type(self.vlm).__name__}. Set '
                    'vlm=None for the scores of the detector alone.')
            found['the map of vlm'] = self.vlm.embed_dims
        for name, width in found.items():
            if width != wanted:
                raise UserValueError(
                    f'The text embeddings have {wanted} dimensions, {name} has '
                    f'{width}. Set embed_dims of the box head to those of the texts; a '
                    'ViT of another width needs with_projection=True and embed_dims.')

    def _check_strides(self) -> None:
        ours = self.roi_head.crop_boxes.featmap_strides
        if hasattr(self.neck, 'strides'):
            pairs = [('strides', ours, 'neck', tuple(self.neck.strides))]
        else:  # A pyramid of mmdet's has more levels for proposals than for regions.
            levels = self.rpn_head.prior_generator.strides[:len(ours)]
            pairs = [('strides', ours, 'rpn_head', tuple(x for x, _ in levels))]
        if self.vlm is not None:
            pairs.append(('vlm_stride', self.roi_head.crop_vlm.featmap_strides, 'vlm',
                          (self.vlm.stride,)))
        for key, ours, part, theirs in pairs:
            if ours != theirs:
                raise UserValueError(
                    f'roi_head.{key} is {_listed(ours)}, but {part} gives maps of '
                    f'stride {_listed(theirs)}, so that regions would be cropped from '
                    f'the wrong place. Set roi_head.{key} to it.')


def _check_texts(text_encoder: dict | None, text_embeddings: str | None,
                 background: str | None) -> None:
    if not isinstance(background, str | None):
        raise UserValueError(
            f'background must be a text, a .npy file or None, got {background!r}.')
    if (text_encoder is None) == (text_embeddings is None):
        raise UserValueError(
            'DITODetector embeds its classes with text_encoder or reads '
            'text_embeddings; set exactly one of the two in the model config.')
    if text_embeddings is not None and background == '.':
        raise UserValueError(
            'With text_embeddings the text of the background cannot be embedded: set '
            'background to the .npy file of its embedding, or to None for a learned '
            'vector.')
    if text_encoder is not None and str(background).endswith('.npy'):
        raise UserValueError(
            f'background={background!r} is a file of an embedding, which belongs to '
            'text_embeddings. With text_encoder set background to a text, or to None '
            'for a learned vector.')


def _check_parts(train_cfg: Mapping | None, test_cfg: Mapping | None) -> None:
    for name, given, known in (
            ('train_cfg', train_cfg, ('rpn', 'rpn_proposal', 'rcnn')),
            ('test_cfg', test_cfg, ('rpn', 'rcnn'))):
        for key in given or {}:
            if key not in known:
                raise UserKeyError(
                    f'{name} has the unknown key {key!r}{did_you_mean(key, known)} It '
                    f'may hold {", ".join(known)}.')


def _listed(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers))


def _frozen(config: dict) -> nn.Module:
    model = MODELS.build(config)
    return model.requires_grad_(False).eval()


def _folded_names(classes: Classes, known: set[str] | None = None) -> set[str]:
    """Names and synonyms in lower case; a class must have one that is known."""
    # An empty list is no vocabulary, but means something here.
    if not isinstance(classes, Vocabulary | str | Path) and not len(classes):
        return set()
    synonyms = [[plain_name(name).lower() for name in names]
                for names in read_vocabulary(classes).synonyms]
    for names in synonyms:
        if known is not None and known.isdisjoint(names):
            raise UserValueError(
                f'base_classes: {names[0]!r} is neither trained nor tested'
                f'{did_you_mean(names[0], known)} Name classes of class_names or of '
                'test_class_names.')
    return {name for names in synonyms for name in names}

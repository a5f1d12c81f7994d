"""Guide any segmentor of mmseg by class texts: DenseCLIP."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.registry import DefaultScope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.utils import add_prefix
from torch import Tensor

from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .head_configs import add_score_channels, set_num_classes
from .head_loss import head_loss, with_scores
from .prompting import Matched, PixelTextPrompting
from .text_guided import TextGuided


@MODELS.register_module()
class DenseCLIP(TextGuided, EncoderDecoder):
    """A segmentor of mmseg, guided by class texts.

    The score map of the class texts goes to the neck (without one, to the head) along
    with the backbone's maps, and is itself supervised by a second loss. Configs give
    ``in_channels`` without the score map and no ``num_classes``: both follow from the
    class names.

    After :meth:`set_classes` with another vocabulary the score map alone segments;
    neck and head know the classes of the training only.

    Source: DenseCLIP (CVPR 2022) and its released code. Differences: the text encoder
    is frozen (``freeze_text=False``: as released), neck and head are initialized as
    mmseg does (``init_heads=False``: as released), names of any length.

    Args:
        backbone: Config of a backbone: CLIP's with its dense embeddings, or another
            one together with ``attention_pool``.
        decode_head: Config of a head of mmseg.
        class_names: Class vocabulary, as for :func:`read_vocabulary`.
        neck: Config of a neck.
        auxiliary_head: Config of a further head of mmseg, or a list.
        identity_head: Config of the head that supervises the score map.
        score_weight: The score map, divided by its temperature, is added to the logits
            of ``decode_head`` with this weight, in training and after. 0, as released:
            the head has to learn every class from the labels. With few labels a class,
            1 lets the texts tell classes apart.
        concat_index: The map of the backbone that the score map is concatenated to.
        init_heads: Whether :meth:`init_weights` initializes neck and heads by their
            ``init_cfg``, as mmseg does. The released code does not.
        pretrained, train_cfg, test_cfg, data_preprocessor, init_cfg: See mmseg.
        text_options: Further arguments of :class:`PixelTextPrompting`:
            ``text_encoder``, ``context_decoder``, ``prompting`` (``post`` or ``pre``)
            and others.
    """

    def __init__(self, *, backbone: dict, decode_head: dict,
                 class_names: str | Path | Sequence | Mapping | Vocabulary,
                 neck: dict | None = None, auxiliary_head: dict | list | None = None,
                 identity_head: dict | None = None, score_weight: float = 0.,
                 concat_index: int = 3, init_heads: bool = True,
                 pretrained: str | None = None, train_cfg: dict | None = None,
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None, **text_options) -> None:
        vocabulary = read_vocabulary(class_names)
        num_classes = len(vocabulary)
        if num_classes < 2:
            raise ValueError(
                'DenseCLIP needs at least two class names, for a pixel goes to the one '
                "that fits best; add one for the rest, such as 'background'.")
        heads = {name: set_num_classes(head, num_classes) for name, head in dict(
            decode_head=decode_head, auxiliary_head=auxiliary_head).items()}
        if neck is not None:
            neck = add_score_channels(neck, concat_index, num_classes)
        else:
            heads = {name: add_score_channels(head, concat_index, num_classes, name)
                     for name, head in heads.items()}
        # Names without a scope are mmseg's, whatever the Runner's default is.
        with DefaultScope.overwrite_default_scope('mmseg'):
            super().__init__(
                backbone=backbone, neck=neck, **heads, pretrained=pretrained,
                train_cfg=train_cfg, test_cfg=test_cfg,
                data_preprocessor=data_preprocessor, init_cfg=init_cfg)
            self.identity_head = MODELS.build(
                dict(type='IdentityHead', num_classes=num_classes)
                | (identity_head or {}))
        self.score_weight, self.init_heads = score_weight, init_heads
        self.prompting = PixelTextPrompting(
            self.backbone, class_names=vocabulary, concat_index=concat_index,
            **text_options)

    @property
    def class_names(self) -> list[str]:
        """One name for each class that the model distinguishes."""
        return self.class_texts.class_names

    def set_classes(self, class_names: str | Path | Sequence | Mapping | Vocabulary
                    | None) -> None:
        """Segment into other classes from now on, without training.

        The logits are then the upsampled score map divided by its temperature.

        Args:
            class_names: The new vocabulary, as for :func:`read_vocabulary`; None for
                that of the training, with which neck and head take part again.

        Raises:
            ValueError: If there is only one class, or a name is longer than the
                position table of the text encoder.
        """
        vocabulary = (self.class_texts.trained_vocabulary if class_names is None
                      else read_vocabulary(class_names))
        if len(vocabulary) < 2:
            raise ValueError(
                f'set_classes: {vocabulary.names} is one class, and every pixel would '
                "go to it; add one for the rest, such as 'background'.")
        self.class_texts.set_vocabulary(vocabulary)
        # slide_inference and SegTTAModel ask the model how many maps there are.
        self.num_classes = self.out_channels = len(vocabulary)
        self.identity_head.num_classes = len(vocabulary)

    @property
    def idle_heads(self) -> tuple[str, ...]:
        """Heads that take no part with the current vocabulary."""
        return () if self.class_texts.is_trained_vocabulary else (
            'decode_head', 'auxiliary_head')

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of the heads, ``decode.*``, and of the score map, ``aux_identity.*``.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: mmseg's ``SegDataSample`` with ``gt_sem_seg``.
        """
        if not self.class_texts.is_trained_vocabulary:
            raise ValueError(
                'set_classes gave this model other classes than it is trained with; '
                'set_classes(None) brings those back.')
        matched = self.match_text(self.backbone(inputs))
        features = self._through_neck(matched.features)
        losses = add_prefix(head_loss(
            self.decode_head, features, data_samples, self.train_cfg,
            self._score_logits(matched)), 'decode')
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(features, data_samples))
        losses.update(add_prefix(head_loss(
            self.identity_head, matched.logits, data_samples),
            'aux_identity'))
        return losses

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """What the heads get: the neck's maps, or the backbone's with the score map."""
        return self._through_neck(self.match_text(self.backbone(inputs)).features)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """(B, K, H, W) logits of whole images or of crops of them."""
        if not self.class_texts.is_trained_vocabulary:
            return resize(self._forward(inputs), inputs.shape[2:], mode='bilinear')
        matched = self.match_text(self.backbone(inputs))
        logits = self.decode_head.predict(
            self._through_neck(matched.features), batch_img_metas, self.test_cfg)
        return with_scores(logits, self._score_logits(matched))

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """(B, K, h, w) logits, not upsampled."""
        matched = self.match_text(self.backbone(inputs))
        if not self.class_texts.is_trained_vocabulary:
            return matched.logits
        logits = self.decode_head(self._through_neck(matched.features))
        return with_scores(logits, self._score_logits(matched))

    def _score_logits(self, matched: Matched) -> Tensor | None:
        """What is added to the head's logits, (B, K, h, w); None for nothing."""
        if not self.score_weight:
            return None
        return matched.logits * self.score_weight

    def _through_neck(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.neck(maps) if self.with_neck else maps


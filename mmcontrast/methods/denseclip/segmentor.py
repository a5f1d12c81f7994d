"""DenseCLIP as a segmentor of mmseg: any backbone, neck and head, by its config."""
from collections.abc import Mapping, Sequence

from mmengine.registry import DefaultScope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.utils import add_prefix
from torch import Tensor

from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .head_loss import head_loss, with_scores
from .prompting import Matched, TextPrompting
from .widening import widen


@MODELS.register_module()
class DenseCLIP(TextPrompting, EncoderDecoder):
    """A segmentor of mmseg, guided by class texts.

    The score map of the class names goes to the neck (without one, to the head) along
    with the backbone's maps, and is itself held to the labels by a second loss.
    Configs give ``in_channels`` without the score map and no ``num_classes``: both
    follow from the class names.

    After :meth:`set_classes` with other names the score map alone segments; neck and
    head know the classes of the training only.

    Source: DenseCLIP (CVPR 2022) and its released code. Differences: the text tower
    is frozen (``freeze_text=False``: as released), neck and head are initialized as
    mmseg does (``init_heads=False``: as released), names of any length.

    Args:
        backbone: Config of a backbone: CLIP's with its dense embeddings, or another
            one together with ``attention_pool``.
        decode_head: Config of a head of mmseg.
        class_names, text_encoder, context_decoder, num_contexts, freeze_text, gamma,
            temperature, concat_index, prompting, attention_pool, init_heads: See
            :meth:`TextPrompting.add_prompting`.
        neck: Config of a neck.
        auxiliary_head: Config of a further head of mmseg, or a list.
        identity_head: Config of the head that holds the score map to the labels.
        score_weight: The score map, divided by its temperature, is added to the logits
            of ``decode_head`` with this weight, in training and after. 0, as released:
            the head has to learn every class from the labels. With few labels a class,
            1 lets the texts tell classes apart.
        train_cfg, test_cfg, data_preprocessor, init_cfg: See mmseg.
    """

    def __init__(self, *, backbone: dict, decode_head: dict,
                 class_names: str | Sequence | Mapping | Vocabulary, text_encoder: dict,
                 context_decoder: dict, neck: dict | None = None,
                 auxiliary_head: dict | list | None = None,
                 identity_head: dict | None = None, score_weight: float = 0.,
                 num_contexts: int = 8, freeze_text: bool = True, gamma: float = 1e-4,
                 temperature: float = 0.07, concat_index: int = 3,
                 prompting: str = 'post', attention_pool: dict | None = None,
                 init_heads: bool = True, **segmentor):
        vocabulary = read_vocabulary(class_names)
        num_classes = len(vocabulary)
        if num_classes < 2:
            raise ValueError(
                'DenseCLIP needs at least two class names, for a pixel goes to the one '
                "that fits best; add one for the rest, such as 'background'.")
        heads = {name: _counted(head, num_classes) for name, head in dict(
            decode_head=decode_head, auxiliary_head=auxiliary_head).items()}
        if neck is not None:
            neck = widen(neck, concat_index, num_classes)
        else:
            heads = {name: _widened(head, concat_index, num_classes, name)
                     for name, head in heads.items()}
        # Names without a scope are mmseg's, whatever the Runner's default is.
        with DefaultScope.overwrite_default_scope('mmseg'):
            super().__init__(backbone=backbone, neck=neck, **heads, **segmentor)
            self.identity_head = MODELS.build(
                dict(type='IdentityHead', num_classes=num_classes)
                | (identity_head or {}))
        self.score_weight = score_weight
        self.add_prompting(
            vocabulary, text_encoder, context_decoder, num_contexts=num_contexts,
            freeze_text=freeze_text, gamma=gamma, temperature=temperature,
            concat_index=concat_index, prompting=prompting,
            attention_pool=attention_pool, init_heads=init_heads)

    def set_classes(self, class_names: str | Sequence | Mapping | None) -> None:
        """Segment into other classes from now on, without training.

        The logits are then the enlarged score map divided by its temperature.

        Args:
            class_names: The new vocabulary, see :func:`read_vocabulary`; None for
                that of the training, with which neck and head take part again.

        Raises:
            ValueError: If there is only one class, or a name is longer than the
                position table of the text tower.
        """
        names = (self.trained_names if class_names is None
                 else read_vocabulary(class_names))
        if len(names) < 2:
            raise ValueError(
                f'set_classes: {names.names} is one class, and every pixel would go to '
                "it; add one for the rest, such as 'background'.")
        self.set_names(names)
        # slide_inference and SegTTAModel ask the model how many maps there are.
        self.num_classes = self.out_channels = len(names)
        self.identity_head.num_classes = len(names)

    @property
    def idle_heads(self) -> tuple[str, ...]:
        """Heads that take no part with the classes as they are set."""
        return () if self.names_are_trained else ('decode_head', 'auxiliary_head')

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of the heads, ``decode.*``, and of the score map, ``aux_identity.*``.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: mmseg's ``SegDataSample`` with ``gt_sem_seg``.
        """
        if not self.names_are_trained:
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
            self.identity_head, matched.score_map / self.temperature, data_samples),
            'aux_identity'))
        return losses

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """What the heads get: the neck's maps, or the backbone's with the score map."""
        return self._through_neck(self.match_text(self.backbone(inputs)).features)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """(B, K, H, W) logits of whole pictures or of crops of them."""
        if not self.names_are_trained:
            return resize(self._forward(inputs), inputs.shape[2:], mode='bilinear')
        matched = self.match_text(self.backbone(inputs))
        logits = self.decode_head.predict(
            self._through_neck(matched.features), batch_img_metas, self.test_cfg)
        return with_scores(logits, self._score_logits(matched))

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """(B, K, h, w) logits, as small as they come."""
        matched = self.match_text(self.backbone(inputs))
        if not self.names_are_trained:
            return matched.score_map / self.temperature
        logits = self.decode_head(self._through_neck(matched.features))
        return with_scores(logits, self._score_logits(matched))

    def _score_logits(self, matched: Matched) -> Tensor | None:
        """What is added to the head's logits, (B, K, h, w); None for nothing."""
        if not self.score_weight:
            return None
        return matched.score_map * (self.score_weight / self.temperature)

    def _through_neck(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.neck(maps) if self.with_neck else maps


def _counted(head: dict | list | None, num_classes: int) -> dict | list | None:
    """A head's config, or each in a list, with its class count set."""
    if head is None or isinstance(head, list):
        return head and [_counted(part, num_classes) for part in head]
    head = head.copy()
    head['num_classes'] = num_classes
    return head


def _widened(head: dict | list | None, *args) -> dict | list | None:
    """:func:`widen` of a head's config, or of each in a list."""
    if head is None or isinstance(head, list):
        return head and [_widened(part, *args) for part in head]
    return widen(head, *args)

"""Contain class texts in a model of mmseg or mmdet, beside its own parts."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.text.class_texts import ClassTexts
from .prompting import Matched, PixelTextPrompting
from .weights import FORMER_KEYS, prepare_state_dict

# Parts that the released code leaves as they are built.
NECK_AND_HEADS = ('neck', 'decode_head', 'auxiliary_head', 'bbox_head', 'rpn_head',
                  'roi_head')


class TextGuided(BaseModule):
    """Common base of segmentor and detectors, beside the class of mmseg or mmdet.

    Attributes:
        prompting: Class texts and score map.
        init_heads: Whether :meth:`init_weights` initializes neck and heads.
    """

    former_keys = FORMER_KEYS
    prompting: PixelTextPrompting
    init_heads: bool

    @property
    def class_texts(self) -> ClassTexts:
        """Vocabulary and text encoder."""
        return self.prompting.class_texts

    def match_text(self, outputs: Sequence) -> Matched:
        """Match what the backbone returned with the class texts, see
        :meth:`PixelTextPrompting.forward`."""
        return self.prompting(outputs)

    def score_map(self, images: Tensor) -> Tensor:
        """(B, K, h, w) cosines of normalized images with the class texts."""
        return self.match_text(self.backbone(images)).score_map

    def init_weights(self) -> None:
        """Initialize as mmengine does; neck and heads only if ``init_heads``."""
        if not self.init_heads:
            parts = [getattr(self, name, None) for name in NECK_AND_HEADS]
            for module in nn.ModuleList(x for x in parts if x is not None).modules():
                if isinstance(module, BaseModule):
                    module.is_init = True
        super().init_weights()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        prepare_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

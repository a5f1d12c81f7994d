"""Ground a phrase in an image: boxes with scores, existence, and one mask."""
from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import nms

from ...errors import UserKeyError, UserValueError, did_you_mean
from ...registry import MODELS
from ...structures import PhrasePrediction
from ...structures.grounding import MASK_RESIZES
from .head import HeadOutputs
from .targets import GroundingTargets

TEST_DEFAULTS = dict(score_thr=0.7, mask_thr=0.5, mask_resize='nearest', nms_iou=None,
                     empty_mask=False, rescale=False)


@MODELS.register_module()
class PropVG(BaseModel):
    """Boxes of what a phrase means, the probability that it is there, and its mask.

    Image and phrase are encoded together; the head proposes all foreground objects and
    scores them against the phrase.

    Source: "PropVG: End-to-End Proposal-Driven Visual Grounding with Multi-Granularity
    Discrimination", Dai et al., ICCV 2025 (arXiv 2509.04833).

    Args:
        encoder: Config of :class:`BEiT3`.
        tokenizer: Config of :class:`BEiT3Tokenizer`.
        head: Config of :class:`PropVGHead`; ``in_channels`` and ``patch_stride`` follow
            from the encoder.
        data_preprocessor: Config of mmdet's ``DetDataPreprocessor``.
        test_cfg: ``score_thr``, a proposal above it is a box; ``mask_thr``, a pixel
            belongs to the mask from this probability on; ``mask_resize``,
            ``'nearest'`` resizes the binary mask to the image as the reference does,
            ``'logits'`` the logits; ``nms_iou`` drops proposals that overlap a better
            one by more (None: none); ``empty_mask`` empties the mask if no score is
            above ``score_thr``; ``rescale`` also gives masks at the size of the
            image.
        init_cfg: Initialization, see mmengine's ``BaseModule``.

    Raises:
        UserKeyError, UserValueError: If ``test_cfg`` has an unknown key or value.
    """

    def __init__(self, encoder: dict, tokenizer: dict, head: dict,
                 data_preprocessor: dict | None = None, test_cfg: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        # Built here: mmengine would use the default scope.
        super().__init__(MODELS.build(
            data_preprocessor or dict(type='mmdet.DetDataPreprocessor')), init_cfg)
        self.encoder = MODELS.build(encoder)
        self.tokenizer = MODELS.build(tokenizer)
        self.head = MODELS.build(dict(
            dict(type='PropVGHead', in_channels=self.encoder.out_channels,
                 patch_stride=self.encoder.patch_size), **head))
        self.test_cfg = checked_test_cfg(test_cfg or {})

    def forward(self, inputs: Tensor, data_samples: Sequence[DetDataSample],
                mode: str = 'tensor'
                ) -> HeadOutputs | dict[str, Tensor] | list[DetDataSample]:
        """Run the model.

        Args:
            inputs: (B, 3, H, W) normalized images, all resized to this size without
                keeping their ratio.
            data_samples: B samples with the phrase as ``text``.
            mode: ``loss`` gives named scalars, ``predict`` the samples with
                predictions, ``tensor`` the outputs of the head.

        Raises:
            ValueError: If a sample has no phrase, or an empty or too long one (see the
                tokenizer), or its image was padded.
        """
        if mode not in ('loss', 'predict', 'tensor'):
            raise ValueError(
                f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")
        phrases = checked_phrases(data_samples, inputs)
        outputs = self._outputs(self._embedded(inputs, data_samples), phrases)
        if mode == 'loss':
            targets = grounding_targets(data_samples, inputs)
            return self.head.loss(outputs, targets)
        if mode == 'predict':
            return self.predict(outputs, data_samples)
        return outputs

    def _embedded(self, inputs: Tensor, data_samples: Sequence[DetDataSample]
                  ) -> Tensor:
        """Patches of the image of each sample; see :func:`collate_phrases`."""
        images = [sample.get('shared_image', -1 - i)
                  for i, sample in enumerate(data_samples)]
        _, rows, places = np.unique(images, return_index=True, return_inverse=True)
        if len(rows) == len(images):
            return self.encoder.embed_images(inputs)
        return self.encoder.embed_images(inputs[rows])[places]

    def _outputs(self, patches: Tensor, phrases: Sequence[str]) -> HeadOutputs:
        """Embedded images (B, C, h, w) and B phrases -> what the head says."""
        tokens = self.tokenizer(phrases)
        self._check_ids(tokens.ids)
        ids, padding = (x.to(patches.device, non_blocking=True)
                        for x in (tokens.ids, tokens.padding))
        # From the tensor on the CPU: asking the device would mean to wait for it.
        longest = int((~tokens.padding).sum(1).max())
        pair = self.encoder.encode(patches, ids, padding, longest)
        return self.head(pair.image, pair.text, padding)

    def _check_ids(self, ids: Tensor) -> None:
        """Ids of another vocabulary would be an error of the device, without a text.
        """
        rows = self.encoder.text_embed.num_embeddings
        if ids.max() >= rows:
            raise UserValueError(
                f'The tokenizer gives the id {ids.max()}, but the text table of the '
                f'encoder has {rows} rows: set vocab_size of the encoder to the '
                f'{self.tokenizer.num_ids} of {self.tokenizer.model_file}, or take the '
                'tokenizer file that belongs to the weights.')

    def check_phrases(self, phrases: Sequence[str]) -> None:
        """Check phrases before anything is computed; see :class:`GroundsPhrases`."""
        self.tokenizer(phrases)

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: Sequence[Sequence[str]],
               max_batch: int = 32) -> list[list[PhrasePrediction]]:
        """Predict any number of phrases an image; see :class:`GroundsPhrases`."""
        patches = self.encoder.embed_images(images)
        pairs = [(number, phrase) for number, several in enumerate(phrases)
                 for phrase in several]
        found = [[] for _ in phrases]
        for start in range(0, len(pairs), max_batch):
            numbers, texts = zip(*pairs[start:start + max_batch], strict=True)
            outputs = self._outputs(patches[list(numbers)], texts)
            for number, prediction in zip(
                    numbers, self._predictions(outputs), strict=True):
                found[number].append(prediction)
        return found

    def _predictions(self, outputs: HeadOutputs) -> list[PhrasePrediction]:
        """One for each pair of image and phrase."""
        boxes = bbox_cxcywh_to_xyxy(outputs.proposals.boxes[-1]).clamp(0, 1)
        scores, exists = self.head.scores(outputs), outputs.exists
        return [PhrasePrediction(
            boxes[i], scores[i], None if exists is None else exists[i],
            outputs.mask_logits[i, 0].float()) for i in range(len(boxes))]

    @torch.no_grad()
    def predict(self, outputs: HeadOutputs, data_samples: Sequence[DetDataSample]
                ) -> list[DetDataSample]:
        """Add predictions to samples.

        ``pred_instances`` has boxes in pixels of the original image and their scores,
        the best first; ``pred_mask`` is the mask at the input size, ``pred_exists`` the
        existence, and ``pred_mask_original`` the mask at the size of the image, where
        the sample has ``gt_mask_original`` or ``test_cfg`` says ``rescale``.
        """
        for sample, found in zip(data_samples, self._predictions(outputs), strict=True):
            height, width = sample.ori_shape[:2]
            order = ranked(found, self.test_cfg['nms_iou'])
            sample.pred_instances = InstanceData(
                bboxes=found.boxes(height, width)[order], scores=found.scores[order],
                labels=torch.zeros_like(order))
            sample.set_field(self._mask(found, *found.mask_logits.shape), 'pred_mask')
            if self.test_cfg['rescale'] or 'gt_mask_original' in sample:
                sample.set_field(self._mask(found, height, width), 'pred_mask_original')
            if found.exists is not None:
                sample.set_field(found.exists, 'pred_exists')
        return list(data_samples)

    def _mask(self, found: PhrasePrediction, height: int, width: int) -> Tensor:
        """(height, width) bool."""
        mask = found.mask(height, width, self.test_cfg['mask_thr'],
                          self.test_cfg['mask_resize'])
        if self.test_cfg['empty_mask']:
            mask = mask & (found.scores.max() > self.test_cfg['score_thr'])
        return mask


def ranked(found: PhrasePrediction, nms_iou: float | None = None) -> Tensor:
    """Indices of proposals, the best first.

    Args:
        found: Q proposals.
        nms_iou: Leave out proposals that overlap a better one by more; None: none.
    """
    if nms_iou is None:
        return found.scores.argsort(descending=True, stable=True)
    return nms(found.boxes_norm, found.scores, nms_iou)


def checked_phrases(data_samples: Sequence[DetDataSample], inputs: Tensor) -> list[str]:
    """The phrases of samples.

    Args:
        data_samples: With the phrase as ``text``.
        inputs: (B, 3, H, W) images.

    Raises:
        UserValueError: If a sample has no phrase, or if its image was padded to
            ``inputs``: boxes and masks would be wrong.
    """
    size = tuple(inputs.shape[-2:])
    for sample in data_samples:
        if 'text' not in sample:
            raise UserValueError(
                'A data sample has no phrase: PropVG reads it from the metainfo '
                "'text', which PackGrounding writes.")
        if tuple(sample.get('img_shape', size)[:2]) != size:
            raise UserValueError(
                f'An image of (height, width) {tuple(sample.img_shape[:2])} was padded '
                f'to {size}. PropVG needs images resized to one size without keeping '
                'their ratio: ResizeGrounding.')
    return [sample.text for sample in data_samples]


def grounding_targets(data_samples: Sequence[DetDataSample], inputs: Tensor
                      ) -> GroundingTargets:
    """What the losses compare with, from samples whose boxes are in input pixels.

    Args:
        data_samples: With ``gt_instances`` (``bboxes``, ``referred``, maybe
            ``attributes``) and ``gt_mask``.
        inputs: (B, 3, H, W) images.
    """
    height, width = inputs.shape[-2:]
    truths = [sample.gt_instances for sample in data_samples]
    size = inputs.new_tensor([width, height, width, height], dtype=torch.float32)
    referred = [truth.referred for truth in truths]
    return GroundingTargets(
        boxes=[bbox_xyxy_to_cxcywh(truth.bboxes / size) for truth in truths],
        referred=referred,
        masks=torch.stack([sample.gt_mask for sample in data_samples]),
        exists=torch.stack([flags.any() for flags in referred]),
        attributes=_attributes(truths))


def _attributes(truths: Sequence[InstanceData]) -> list[Tensor] | None:
    """Those of each image, if all objects have them."""
    known = [truth.attributes for truth in truths if 'attributes' in truth]
    if not known or any('attributes' not in truth and len(truth) for truth in truths):
        return None
    return [truth.get('attributes', known[0][:0]) for truth in truths]


def checked_test_cfg(given: dict) -> dict:
    """All options of ``test_cfg``.

    Raises:
        UserKeyError, UserValueError: If a key or a value is unknown.
    """
    for key in given:
        if key not in TEST_DEFAULTS:
            raise UserKeyError(
                f'test_cfg of PropVG: unknown key {key!r}'
                f'{did_you_mean(key, TEST_DEFAULTS)} It knows '
                f'{", ".join(TEST_DEFAULTS)}.')
    options = TEST_DEFAULTS | dict(given)
    if options['mask_resize'] not in MASK_RESIZES:
        raise UserValueError(
            f'test_cfg of PropVG: mask_resize must be one of {MASK_RESIZES}, got '
            f'{options["mask_resize"]!r}.')
    for key in ('score_thr', 'mask_thr', 'nms_iou'):
        value = options[key]
        if not (isinstance(value, Real) and 0 <= value <= 1
                or key == 'nms_iou' and value is None):
            raise UserValueError(
                f'test_cfg of PropVG: {key} must lie in [0, 1], got {value!r}.')
    return options

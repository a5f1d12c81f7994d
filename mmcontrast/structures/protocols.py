"""Define protocols: the methods by which tools, hooks and inferencers use a model.

A tool, hook or inferencer serves every model of a kind, whichever method it belongs
to: it tests ``isinstance(model, Protocol)`` and calls the members below. A protocol
names methods, properties and class attributes only; submodules are not seen by
``isinstance`` in every version of Python.
"""
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from .grounding import PhrasePrediction
from .prompt import Prompt


@runtime_checkable
class SetsClasses(Protocol):
    """A model whose classes can be changed without training.

    Attributes:
        class_names: The classes as they are set, in the order of the labels.
    """

    class_names: list[str]

    def set_classes(self, class_names: Any) -> None:
        """Use other classes from now on; None for those of the training.

        Raises:
            ValueError: If the model cannot use these classes.
        """


@runtime_checkable
class OpenVocabulary(Protocol):
    """A model that is trained with some classes and predicts any others.

    Attributes:
        class_names: The classes of its predictions, in the order of the labels.
        trained_class_names: Those of the training labels, in their order.
    """

    class_names: list[str]
    trained_class_names: list[str]

    def set_classes(self, class_names: Any) -> None:
        """As of :class:`SetsClasses`; any number of classes."""


@runtime_checkable
class MatchesText(Protocol):
    """A model with a score map: where in an image each class text matches.

    Attributes:
        class_names: The classes as they are set, in the order of the maps.
        class_texts: The :class:`~mmcontrast.models.text.ClassTexts` that it contains.
    """

    class_names: list[str]
    class_texts: Any

    def score_map(self, images: Tensor) -> Tensor:
        """Compare normalized images (B, 3, H, W) with the class texts.

        Returns:
            (B, K, h, w) cosines in [-1, 1].
        """


@runtime_checkable
class MatchesRegions(Protocol):
    """A detector that compares regions of an image with its class texts."""

    def match_regions(self, images: Tensor, data_samples: Sequence) -> list:
        """Cosines of proposed regions.

        Args:
            images: (B, 3, H, W), normalized.
            data_samples: B samples of mmdet.

        Returns:
            An ``InstanceData`` an image: ``bboxes`` (N, 4) in pixels of the input,
            ``scores`` (N,) of the proposals and ``cosines`` (N, K).
        """


@runtime_checkable
class RelabelsBoxes(Protocol):
    """A detector of trained classes whose boxes can be labeled by other texts."""

    def label_boxes_by(self, texts: Any) -> None:
        """Label boxes by any number of texts from now on; None for the classes."""


@runtime_checkable
class Promptable(Protocol):
    """A model that encodes an image once and answers any number of prompts."""

    def set_image(self, image: np.ndarray) -> None:
        """Encode an (H, W, 3) uint8 RGB image."""

    def predict(self, prompt: Prompt) -> Any:
        """Answer a prompt about the image that is set."""


@runtime_checkable
class GroundsPhrases(Protocol):
    """A model that finds what a phrase describes, and whether it is there at all.

    Attributes:
        test_cfg: ``score_thr``, ``mask_thr``, ``mask_resize``, ``nms_iou`` and
            ``empty_mask`` of its predictions, where they are not the defaults.
    """

    test_cfg: Mapping[str, Any]

    def check_phrases(self, phrases: Sequence[str]) -> None:
        """Check phrases before anything is computed.

        Raises:
            ValueError: If a phrase is empty, or too long for a model that does not
                cut phrases.
        """

    def ground(self, images: Tensor, phrases: Sequence[Sequence[str]],
               max_batch: int = 32) -> list[list[PhrasePrediction]]:
        """Predict any number of phrases an image.

        What depends on an image alone is computed once, whatever the phrases.

        Args:
            images: (B, 3, H, W), normalized.
            phrases: B sequences of raw phrases, as users write them.
            max_batch: Pairs of image and phrase that are computed at once.

        Returns:
            B lists, a prediction a phrase, in their order.

        Raises:
            ValueError: As of :meth:`check_phrases`.
        """


@runtime_checkable
class PlacesObjects(Protocol):
    """A model that scores where in a background, and how large, an object belongs.

    Backgrounds and objects are encoded apart, so that one background serves many
    objects and, with the same size of background, one object many of them. What is
    encoded is a tensor or a list of tensors, the first axis the images.

    Attributes:
        grid: The :class:`~mmcontrast.methods.topnet.PlacementGrid` of its maps: which
            box a cell stands for.
        test_cfg: ``window``, ``keep_inside`` and ``nms_iou`` of the ranking, where they
            are not the defaults.
    """

    grid: Any
    test_cfg: Mapping[str, Any]

    def encode_backgrounds(self, images: Tensor) -> Any:
        """Encode (B, 3, H, W) normalized backgrounds."""

    def encode_objects(self, images: Tensor) -> Any:
        """Encode B normalized objects, as the test pipeline prepares them."""

    def score_places(self, background: Any, objects: Any) -> Tensor:
        """Plausibility of all places of objects in one background.

        Args:
            background: Encoded, of one image.
            objects: Encoded, of B objects.

        Returns:
            (B, S, H, W) in [0, 1], scale, row and column as ``grid`` says, or
            ``grid.with_scales(S)`` where objects are prepared at other scales.
        """


@runtime_checkable
class SearchesPlacements(Protocol):
    """A step of a test pipeline that prepares pairs of background and object."""

    def over_scales(self) -> 'PreparesPlacements':
        """The step that prepares objects for a search over all sizes."""


@runtime_checkable
class PreparesPlacements(Protocol):
    """A transform that prepares backgrounds and objects apart, at all sizes.

    Attributes:
        per_background: Whether an object is prepared for the size of one background.
    """

    per_background: bool

    def prepare_background(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (h, w, 3)."""

    def prepare_object(self, cutout: Any, background_wh: Sequence[int]) -> np.ndarray:
        """An object for a background of a width and height -> (..., h, w, 4) uint8."""


@runtime_checkable
class SlotModel(Protocol):
    """A model that assigns the cells of an image to learned slots."""

    def slot_scores(self, images: Tensor, branch: str = 'momentum',
                    prototypes: Tensor | None = None) -> Tensor:
        """Cosine of each cell with each slot.

        Args:
            images: (N, 3, H, W), normalized.
            branch: ``momentum`` or ``online``.
            prototypes: (K, C) to compare with instead of the learned ones.

        Returns:
            (N, K, h, w) in [-1, 1].
        """

    def slot_prototypes(self, branch: str = 'momentum') -> Tensor:
        """(K, C) learned prototypes of a branch."""


@runtime_checkable
class ChecksSlotWeights(Protocol):
    """A slot model that knows which weights of a file its slots need."""

    def check_slot_weights(self, weights: Mapping[str, Tensor], branch: str,
                           checkpoint: str, config: str) -> None:
        """Check that a file holds all that ``slot_scores`` of a branch needs.

        Raises:
            ValueError: If weights are missing or of another shape.
        """


@runtime_checkable
class ExportsBranch(Protocol):
    """A model, or its class, with a branch whose backbone is exported.

    Attributes:
        export_branch: ``online`` or ``momentum``.
    """

    export_branch: str


@runtime_checkable
class HasCollapseSigns(Protocol):
    """A model that says by which of its logged scalars a collapse is seen.

    Attributes:
        collapse_signs: Scalar to ``below``, ``means`` and ``do``.
    """

    collapse_signs: Mapping[str, dict]


@runtime_checkable
class HasIdleHeads(Protocol):
    """A model some of whose heads take no part as it is set.

    Attributes:
        idle_heads: Their attribute names.
    """

    idle_heads: Sequence[str]

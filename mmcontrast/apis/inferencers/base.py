"""Segment images or detect objects in them: the base class of such inferencers."""
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ...engine.hooks.class_check import class_heads
from ...errors import UserValueError
from ...evaluation.calibration_file import read_calibration
from ...io.folders import save_output_image
from ...structures.protocols import SetsClasses
from ...visualization.label_maps import label_colors
from ..loading import LoadedModel
from .images import (
    Images,
    ImageSource,
    InputImage,
    InputImages,
    input_pipeline,
    iterate_batches,
    list_images,
)
from .model_inferencer import ModelInferencer
from .results import (
    Detection,
    Segmentation,
    add_to_coco,
    is_image_file,
    output_stems,
    refuse_overwriting,
    write_coco,
)

Result = Segmentation | Detection
Classes = str | Path | Sequence | Mapping | None


class Inferencer(ModelInferencer):
    """Images in, labeled pixels or boxes out, for one kind of model.

    A subclass says with :meth:`serves` which models it is for and turns their
    predictions into results in :meth:`predict`. Registered in ``INFERENCERS``, it is
    found by :func:`open_inferencer` and so by ``tools/infer.py``::

        infer = open_inferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('photo.jpg', out='result.png')

    Args:
        config, checkpoint, device, cfg_options: As of :class:`ModelInferencer`, whose
            attributes and errors it shares.
    """

    #: Default scope of the names in a test pipeline.
    scope = 'mmcontrast'
    #: Whether the test pipeline takes images with blue first.
    bgr = True
    options = ('classes', 'score_thr', 'calibration')
    score_thr = 0.3

    def __init__(self, config: str | LoadedModel, checkpoint: str | None = None,
                 device: str | None = None, cfg_options: dict | None = None) -> None:
        super().__init__(config, checkpoint, device, cfg_options)
        self._pipeline = input_pipeline(self.loaded.config, self.scope)
        self._trained_classes = self._training_classes()

    @abstractmethod
    def predict(self, batch: Sequence[InputImage], score_thr: float) -> list[Result]:
        """Results of a few images whose inputs have one size; without gradients."""

    @property
    def classes(self) -> list[str]:
        """The classes as they are set, in the order of the labels."""
        return (list(self.model.class_names) if isinstance(self.model, SetsClasses)
                else self._trained_classes)

    def _training_classes(self) -> list[str]:
        if isinstance(self.model, SetsClasses):
            return list(self.model.class_names)
        heads = class_heads(self.model).values()
        count = max((head.num_classes for head in heads), default=0)
        known = self.loaded.dataset_meta.get('classes', [])
        if known and count in (0, len(known)):
            return list(known)
        return [f'class {label}' for label in range(count)]

    @property
    def colors(self) -> np.ndarray:
        """(K, 3) uint8 RGB, a color a class: the dataset's for the trained classes."""
        classes = self.classes
        palette = self.loaded.dataset_meta.get('palette')
        if (palette is not None and classes == self._trained_classes
                and len(palette) == len(classes)):
            return palette
        return label_colors({i: i for i in range(len(classes))}, len(classes))

    def set_classes(self, classes: Classes) -> None:
        """Use other classes from now on; None for those of the training.

        Raises:
            ValueError: If the model reads no class texts, or cannot use these.
        """
        if isinstance(self.model, SetsClasses):
            self.model.set_classes(classes)
        elif classes is not None:
            raise UserValueError(
                f'classes: {type(self.model).__name__} reads no class texts; it knows '
                f'its {len(self.classes)} classes only. Leave classes out.')

    def __call__(self, images: Images, classes: Classes = None,
                 out: str | Path | None = None, score_thr: float | None = None,
                 batch_size: int = 4, workers: int = 2, progress: bool = True,
                 calibration: str | Path | None = None) -> Result | list[Result]:
        """Run the model on images.

        Args:
            images: A file, a folder (with all below it), an (H, W, 3) uint8 BGR array
                as of ``cv2.imread``, a ``PIL.Image``, or a list of these.
            classes: For models that read class texts, any vocabulary of
                :func:`~mmcontrast.models.text.vocabulary.read_vocabulary`; None for
                the classes of the training.
            out: For a single image an image file; else a folder, see :meth:`stream`.
            score_thr: Detectors leave out boxes with a lower score; None for the
                ``score_thr`` of the class.
            batch_size: Maximum number of images to pass at a time; only neighbors that
                go into the network at one size share a batch.
            workers: Processes that read images, where there are many.
            progress: Show a bar where there are several images.
            calibration: File of ``tools/analysis/calibrate.py``, whose threshold is
                taken in place of ``score_thr``.

        Returns:
            The result of a single image, or a list for folders and lists, without the
            images that could not be read: a warning counts them.

        Raises:
            FileNotFoundError: If a file is missing or a folder holds no image.
            ValueError: If no image can be read, the classes cannot be used, or a
                number is out of range.
        """
        return self.collect(images, self.stream(
            images, classes, out, score_thr, batch_size, workers, progress,
            calibration))

    def stream(self, images: Images, classes: Classes = None,
               out: str | Path | None = None, score_thr: float | None = None,
               batch_size: int = 4, workers: int = 2, progress: bool = True,
               calibration: str | Path | None = None) -> Iterator[Result]:
        """Yield the results one by one, for more images than memory holds.

        Boxes that are written to ``out`` are kept in memory until the end.

        Args:
            images, classes, score_thr, batch_size, workers, progress, calibration: As
                of a call.
            out: An image file for a single image, or a folder: drawn images
                ``NAME.jpg``; of segmentors ``labels/NAME.png``, of detectors
                ``annotations.json`` in COCO's format; and ``classes.txt``, the classes
                in the order of the labels.
        """
        score_thr = self._threshold(score_thr, calibration)
        if batch_size < 1 or not 0 <= score_thr <= 1:
            raise ValueError('batch_size must be 1 or more and score_thr lie in [0, 1],'
                             f' got {batch_size} and {score_thr}.')
        sources = list_images(images)
        self.set_classes(classes)
        self.skipped = []
        inputs = self.inputs(sources)
        with _writing(out, sources, self.colors, self.classes) as write:
            for batch in iterate_batches(inputs, batch_size, workers, progress,
                                         self.skipped):
                with torch.no_grad():
                    results = self.predict(batch, score_thr)
                for item, result in zip(batch, results, strict=True):
                    write(item, result)
                    yield result

    def _threshold(self, score_thr: float | None, calibration: str | Path | None
                   ) -> float:
        if calibration is None:
            return self.score_thr if score_thr is None else score_thr
        if score_thr is not None:
            raise UserValueError('calibration holds a score_thr of its own: give one '
                                 'of the two.')
        # Boxes lie above a calibrated threshold; here those that reach it stay.
        return float(np.nextafter(np.float32(read_calibration(calibration).score_thr),
                                  np.float32(1)))

    def inputs(self, sources: Sequence[ImageSource]) -> InputImages:
        """The sources as a dataset of what goes into the network."""
        return InputImages(sources, self._pipeline, self.bgr)

    def test_step(self, batch: Sequence[InputImage]) -> list:
        """The data samples that the model predicts."""
        return self.model.test_step(dict(
            inputs=[item.inputs for item in batch],
            data_samples=[item.sample for item in batch]))


@contextmanager
def _writing(out: str | Path | None, sources: list[ImageSource], colors: np.ndarray,
             classes: list[str]) -> Iterator:
    """A function that writes the result of an image below a folder, or to a file."""
    if out is None:
        yield lambda item, result: None
        return
    out = Path(out)
    images = [source.image for source in sources]
    if is_image_file(out, len(sources)):
        refuse_overwriting([out], images)
        yield lambda item, result: save_output_image(
            result.draw(item.image, colors), out)
        return
    stems = output_stems([source.name for source in sources])
    refuse_overwriting((out / name for stem in stems for name in (
        f'{stem}.jpg', f'labels/{stem}.png')), images)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'classes.txt').write_text(
        ''.join(f'{name}\n' for name in classes), encoding='utf-8')
    coco: dict = dict(images=[], categories=[], annotations=[])

    def write(item: InputImage, result: Result) -> None:
        save_output_image(result.draw(item.image, colors),
                          out / f'{stems[item.index]}.jpg', quality=90)
        if isinstance(result, Segmentation):
            result.write(out, stems[item.index])
        else:
            add_to_coco(coco, result)
    try:
        yield write
    finally:
        if coco['images']:
            write_coco(coco, out / 'annotations.json')

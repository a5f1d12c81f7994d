"""Images and class texts in, label maps or boxes out."""
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from warnings import warn

import numpy as np
import torch
from mmengine.structures import InstanceData
from PIL import Image

from ...datasets.image_lists import IMAGE_SUFFIXES
from ...models.text.vocabulary import read_vocabulary
from ...models.upsampling import upsampled_argmax
from .images import (
    Images,
    Prepared,
    Source,
    batches,
    find_sources,
    image_pipeline,
    skipped_sentence,
)
from .pictures import draw_result
from .results import Detection, Segmentation, output_stems
from .text_model import load_text_model

Classes = str | Path | Sequence | Mapping | None


class DenseCLIPInferencer:
    """Segment images, or find objects in them, by class texts.

    ::

        infer = DenseCLIPInferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('photo.jpg', classes='sky;tree;a red car', out='result.png')

    Args:
        config: Config of a DenseCLIP segmentor or detector.
        checkpoint: Weights of its training, or converted released ones.
        device: 'cpu', 'cuda:1', ...; None for a GPU if there is one.
        cfg_options: Overrides of the config, dotted keys.

    Attributes:
        model: The segmentor or detector.
        skipped: What the last call could not read, a sentence an image.

    Raises:
        FileNotFoundError, ValueError: See :func:`load_text_model`.
    """

    def __init__(self, config: str, checkpoint: str, device: str | None = None,
                 cfg_options: dict | None = None) -> None:
        self._loaded = load_text_model(config, checkpoint, device, cfg_options)
        self.model = self._loaded.model
        self._pipeline = image_pipeline(self._loaded.config, self._loaded.scope)
        self.skipped: list[str] = []

    def __call__(self, images: Images, classes: Classes = None,
                 out: str | Path | None = None, score_thr: float = 0.3,
                 batch_size: int = 4, workers: int = 2, progress: bool = True
                 ) -> Segmentation | Detection | list[Segmentation | Detection]:
        """Ask about images.

        Args:
            images: A file, a folder (with all below it), an (H, W, 3) uint8 BGR array
                as of ``cv2.imread``, a ``PIL.Image``, or a list of these.
            classes: Class texts, as any vocabulary of :func:`read_vocabulary`; None
                for those of the training. With other ones the score map of the texts
                decides: of a segmentor at each pixel, of a detector in each box that
                the trained classes found.
            out: For a single image a picture file; else a folder, see :meth:`stream`.
            score_thr: Detectors leave out boxes with a lower score.
            batch_size: Most images to pass at a time; only neighbors that go into the
                network at one size share a batch.
            workers: Processes that read images, where there are many.
            progress: Show a bar where there are several images.

        Returns:
            The result of a single image, or a list for folders and lists, without the
            images that could not be read: a warning counts them.

        Raises:
            FileNotFoundError: If a file is missing or a folder holds no image.
            ValueError: If no image can be read, the texts do not do, or a number is
                out of range.
        """
        single = not (isinstance(images, Sequence) and not isinstance(images, str)) \
            and not (isinstance(images, str | Path) and Path(images).is_dir())
        results = list(self.stream(images, classes, out, score_thr, batch_size, workers,
                                   progress))
        if self.skipped:
            warn(skipped_sentence(self.skipped, len(self.skipped) + len(results)),
                 stacklevel=2)
        return results[0] if single else results

    def stream(self, images: Images, classes: Classes = None,
               out: str | Path | None = None, score_thr: float = 0.3,
               batch_size: int = 4, workers: int = 2, progress: bool = True
               ) -> Iterator[Segmentation | Detection]:
        """The results one by one; for more images than memory holds.

        Args:
            images, classes, score_thr, batch_size, workers, progress: As of a call.
            out: A picture file for a single image, or a folder: pictures ``NAME.jpg``,
                ``labels/NAME.png`` or ``boxes/NAME.json``, and ``classes.txt``, the
                texts in the order of the labels.
        """
        if batch_size < 1 or not 0 <= score_thr <= 1:
            raise ValueError('batch_size must be 1 or more and score_thr lie in [0, 1],'
                             f' got {batch_size} and {score_thr}.')
        sources = find_sources(images)
        self._name_classes(classes)
        writer = None if out is None else _Writer(
            Path(out), sources, self._loaded.colors(), self.model.class_names)
        self.skipped = []
        for batch in batches(sources, self._pipeline, batch_size, workers, progress,
                             self.skipped):
            found = self._ask(batch, sources, score_thr)
            for item, result in zip(batch, found, strict=True):
                if writer is not None:
                    writer.write(item, result)
                yield result

    def _name_classes(self, classes: Classes) -> None:
        names = None if classes is None else read_vocabulary(classes)
        if self._loaded.detects:
            self.model.label_boxes_by(names)
        elif (names or self.model.trained_names) != self.model.vocabulary:
            # Embeddings of names that stay are kept.
            self.model.set_classes(names)

    @torch.no_grad()
    def _ask(self, batch: list[Prepared], sources: list[Source], score_thr: float
             ) -> list[Segmentation | Detection]:
        if not self._loaded.detects:
            for item in batch:
                # mmseg's logits at the size of the photograph may not fit into memory.
                item.sample.set_metainfo(dict(ori_shape=item.inputs.shape[-2:]))
        samples = self.model.test_step(dict(
            inputs=[item.inputs for item in batch],
            data_samples=[item.sample for item in batch]))
        classes, names = self.model.class_names, [sources[x.index].name for x in batch]
        if self._loaded.detects:
            return [detection(name, classes, sample.pred_instances, score_thr)
                    for name, sample in zip(names, samples, strict=True)]
        return [
            Segmentation(name, classes, _labels(
                sample.seg_logits.data, item.image.shape[:2], self.model.align_corners))
            for name, item, sample in zip(names, batch, samples, strict=True)]


def detection(name: str, classes: list[str], found: InstanceData, score_thr: float
              ) -> Detection:
    """mmdet's instances as a result, those of low scores left out."""
    found = found[found.scores >= score_thr]
    found = found[found.scores.argsort(descending=True, stable=True)].cpu()
    masks = found.get('masks')
    return Detection(
        name, classes, found.bboxes.numpy().astype(np.float32),
        found.scores.numpy().astype(np.float32), found.labels.numpy(),
        None if masks is None else np.asarray(masks).astype(bool))


def _labels(logits: torch.Tensor, size: tuple[int, int], align_corners: bool
            ) -> np.ndarray:
    labels = upsampled_argmax(logits[None], size, align_corners)[0]
    return labels.cpu().numpy().astype(np.uint8 if len(logits) <= 256 else np.uint16)


class _Writer:
    """Writes pictures and answers below a folder, or one picture to a file."""

    def __init__(self, out: Path, sources: list[Source], colors: np.ndarray,
                 classes: list[str]) -> None:
        self.out, self.colors = out, colors
        self.file = None
        if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
            if len(sources) > 1:
                raise ValueError(f'out={out} is one picture, but there are '
                                 f'{len(sources)} images; name a folder.')
            self.file = out
            out.parent.mkdir(parents=True, exist_ok=True)
            return
        out.mkdir(parents=True, exist_ok=True)
        (out / 'classes.txt').write_text(
            ''.join(f'{name}\n' for name in classes), encoding='utf-8')
        self.stems = output_stems([source.name for source in sources])

    def write(self, item: Prepared, result: Segmentation | Detection) -> None:
        picture: Image.Image = draw_result(item.image, result, self.colors)
        if self.file is not None:
            picture.save(self.file)
            return
        stem = self.stems[item.index]
        path = self.out / f'{stem}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
        result.write(self.out, stem)

"""Score slots as a segmentation of labeled images during training."""
import time

from mmengine.runner import Runner
from torch import nn

from ...datasets.labeled_images import evenly_spaced
from ...datasets.segmented_images import (
    DatasetImages,
    SegmentedImages,
    open_segmented_images,
)
from ...engine.distributed.unwrap import unwrap_model
from ...engine.hooks.intervals import IntervalHook, on_rank_0
from ...engine.resume.rng_state import preserved_rng
from ...registry import HOOKS
from .evaluation import check_slot_model, count_slots


@HOOKS.register_module()
class SlotProbeHook(IntervalHook):
    """Score slots as a segmentation of a few labeled images, at intervals.

    Logs the figures of :meth:`~mmcontrast.methods.slotcon.evaluation.SlotTally.scores`
    (``slots/fg_ari``, ``slots/miou``, ...) to the log, the visualizer and the message
    hub, before training and at every interval. Nothing is fitted, and labels never
    reach the network: a run with the hook gives the weights of a run without it. Rank
    0 computes, the others wait.

    Args:
        dataset: Labeled images: arguments of
            :func:`~mmcontrast.datasets.segmented_images.open_segmented_images`, as
            ``dict(folder=..., split=...)``, or a registered dataset (``type=...``), see
            :class:`~mmcontrast.datasets.segmented_images.DatasetImages`.
        interval: Epochs (iterations with ``by_epoch=False``) between two probes,
            or a share of the run, ``'20%'``.
        before_training: Also score the slots that training starts from.
        num_images: Most images, evenly spread over the set; None takes all.
        size: Short side the images are resized to; their own if None.
        branch: ``momentum`` (the teacher) or ``online``.
    """

    def __init__(self, dataset: dict, interval: int | str = 1, by_epoch: bool = True,
                 before_training: bool = True, num_images: int | None = 100,
                 size: int | None = None, branch: str = 'momentum') -> None:
        super().__init__(interval, by_epoch, before_training)
        self.dataset, self.num_images = dataset, num_images
        self.size, self.branch = size, branch
        self._images: SegmentedImages | None = None

    def act(self, runner: Runner, step: int) -> None:
        """Measure and log after ``step`` iterations."""
        start = time.perf_counter()
        model = unwrap_model(runner.model)
        check_slot_model(model, 'SlotProbeHook')
        found = on_rank_0(lambda: self._measure(model), 'slot probe')
        scalars = {f'slots/{name}': value for name, value in found.items()
                   if value is not None}
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(scalars, step=step)
        shown = ', '.join(f'{name} {value:.4g}' for name, value in found.items()
                          if value is not None)
        runner.logger.info(f'slots after {step} iterations: {shown} '
                           f'({time.perf_counter() - start:.1f} s)')

    def _measure(self, model: nn.Module) -> dict:
        with preserved_rng():
            if self._images is None:
                self._images = (
                    DatasetImages(self.dataset) if 'type' in self.dataset
                    else open_segmented_images(**self.dataset))
            images = self._images
            picks = evenly_spaced(len(images), self.num_images)
            prototypes = model.slot_prototypes(self.branch)
            tally = count_slots(
                model, dict(slots=prototypes), (images[i] for i in picks),
                len(images.classes), self.size, self.branch)['slots']
        return tally.scores(images.is_thing)

"""Nearest images of each prototype, against the released script."""
from pathlib import Path

import torch

from mmcontrast.methods.slotcon import SlotGrouping
from mmcontrast.methods.slotcon.retrieval import SlotStatistics
from mmcontrast.testing.golden import Case

FOLDER = str(Path(__file__).parent / 'slotcon')


def test_nearest_images_are_those_of_the_released_script():
    case = Case(FOLDER, 'retrieval')
    features, prototypes = case.input('features'), case.input('prototypes')
    grouping = SlotGrouping(channels=16, num_slots=8)
    grouping.prototypes.data.copy_(prototypes)
    with torch.no_grad():
        dots = grouping(features).permute(0, 3, 1, 2)
    statistics = SlotStatistics(num_slots=8, top=case.meta['config']['topk'])
    for number, image in enumerate(dots):
        statistics.add(image[None], torch.tensor([number]))
    case.check(dict(dots=dots, idxs=statistics.nearest))

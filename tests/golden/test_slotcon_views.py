"""Crops and pixels of SlotCon's views against the released code."""
from pathlib import Path

import pytest
import torch

from mmcontrast.datasets.transforms import (
    Crop,
    OverlapCrops,
    RandomResizedCrops,
    TwoViews,
    image_to_tensor,
)
from mmcontrast.methods.slotcon.alignment import overlaps
from mmcontrast.models.preprocessor import TwoViewPreprocessor
from mmcontrast.structures import View, ViewBatch
from mmcontrast.testing.golden import Case
from tests.helpers.listed_choices import ListedDraws, force_steps, made_up_image

FOLDER = str(Path(__file__).parent / 'slotcon')
VIEW_PIXELS = Case(FOLDER, 'view_pixels')


def drawn_crops(case: Case) -> list[tuple[dict, tuple[Crop, Crop], ListedDraws]]:
    """Each row of the case, the crops it leads to, and what they used up."""
    config = case.meta['config']
    crops = RandomResizedCrops(config['scale'], config['ratio'], config['attempts'])
    rows = [(row, ListedDraws(row)) for row in case.meta['rows']]
    return [(row, OverlapCrops()(crops, row['width'], row['height'], draws), draws)
            for row, draws in rows]


def test_the_second_crop_meets_the_first_as_in_the_released_code():
    case = Case(FOLDER, 'two_crops')
    drawn = drawn_crops(case)
    case.check(dict(
        boxes_i_j_h_w=torch.tensor(
            [[[c.top, c.left, c.height, c.width] for c in pair]
             for _, pair, _ in drawn]),
        uniform_numbers_used=torch.tensor(
            [draws.num_uniforms for *_, draws in drawn])))


def test_the_overlap_lies_in_each_view_where_the_released_code_has_it():
    case = Case(FOLDER, 'two_crops')
    rows = [(pair, row['flips']) for row, pair, _ in drawn_crops(case)]
    unflipped = [(pair, (False, False)) for pair, _ in rows]
    case.check(dict(
        overlap=overlap_boxes(unflipped), overlap_after_flip=overlap_boxes(rows)))


def overlap_boxes(rows) -> torch.Tensor:
    """(N, 2, 4) boxes from N rows of two crops and two flags."""
    views = [ViewBatch.stack([View(*crops[v].box, bool(flags[v]))
                              for crops, flags in rows]) for v in range(2)]
    return torch.stack([overlap.boxes for overlap in overlaps(*views)], 1)


@pytest.mark.parametrize('idx', range(len(VIEW_PIXELS.meta['rows'])))
def test_the_whole_transform_replays_the_released_views(idx):
    row, image = VIEW_PIXELS.meta['rows'][idx], made_up_image(VIEW_PIXELS)
    views = TwoViews(VIEW_PIXELS.meta['config']['size'], interpolation='bicubic')
    crops, flags = force(views, row)
    results = views.transform(dict(img=image), rng=FlipDraws(flags))
    assert [view.box for view in crops] == [
        (v.left, v.top, v.right, v.bottom) for v in results['views']]
    batch = TwoViewPreprocessor()(dict(inputs=[
        image_to_tensor(view)[None] for view in results['img']]))
    boxes = overlap_boxes([(crops, flags)])[0]
    VIEW_PIXELS.check(
        {f'out_{idx}_{v + 1}': batch['inputs'][v][0] for v in range(2)}
        | {f'overlap_{idx}_{v + 1}': boxes[v] for v in range(2)})


class FlipDraws:
    """Draws that mirror a view where its flag is set."""

    def __init__(self, flags):
        self.draws = [0.0 if flag else 1.0 for flag in flags]

    def random(self):
        # The steps of color are forced, whatever they draw.
        return self.draws.pop(0) if self.draws else 0.0


def force(views: TwoViews, row: dict) -> tuple[list[Crop], list[bool]]:
    """Let a transform choose what the row lists; its crops and flips."""
    choices = row['choices']
    crops = [Crop(left, top, width, height)
             for _, top, left, height, width in choices[:2]]
    views.crop_pair = lambda *args: crops
    # The changes of view 1 end with its blur, which it always gets.
    end = [name for name, *_ in choices].index('blur') + 1
    force_steps(views.steps[0], choices[2:end])
    force_steps(views.steps[1], choices[end:])
    return crops, row['flags']

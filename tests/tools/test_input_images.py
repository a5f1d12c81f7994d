"""Test what inferencers give to a pipeline."""
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.inferencers.images import InputImages, iterate_batches, list_images


@pytest.mark.parametrize('bgr', [True, False])
def test_a_pipeline_may_write_into_the_image(bgr):
    seen = []

    def pipeline(results):
        results['img'][0, 0] = 0
        seen.append(results['img'])
        return dict(inputs=results['img'], data_samples=None)

    image = Image.new('RGB', (3, 2), (1, 2, 3))
    item = InputImages(list_images(image), pipeline, bgr)[0]
    assert not np.asarray(seen[0])[0, 0].any() and seen[0].flags.c_contiguous
    assert seen[0][1, 1].tolist() == ([3, 2, 1] if bgr else [1, 2, 3])
    assert item.image[0, 0].tolist() == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='Linux alone has it')
def test_no_more_readers_than_processors():
    """torch warns about more, and that they may freeze."""
    images = InputImages(
        list_images([np.full((2, 3, 3), i, np.uint8) for i in range(4)]),
        lambda results: dict(inputs=results['img'], data_samples=None), True)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', UserWarning)
            batches = list(iterate_batches(images, 2, 2, False, []))
    finally:
        os.sched_setaffinity(0, allowed)
    assert [[item.image[0, 0, 0] for item in batch] for batch in batches] == [
        [0, 1], [2, 3]]

"""Test what inferencers give to a pipeline."""
import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.inferencers.images import InputImages, list_images


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

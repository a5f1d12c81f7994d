import pytest
import torch
import torch.nn.functional as F

from mmcontrast.models.upsampling import upsampled_argmax


@pytest.mark.parametrize('size', [(37, 50), (9, 7), (4, 3), (64, 5)])
@pytest.mark.parametrize('align_corners', [False, True])
def test_labels_are_those_of_the_whole_enlargement(size, align_corners):
    logits = torch.randn(6, 9, 7, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], size, mode='bilinear',
                          align_corners=align_corners)[0].argmax(0)
    # Strips of one row, of some, and all at once.
    for strip in (1, 6 * size[1] * 3, 10 ** 9):
        found = upsampled_argmax(logits, size, align_corners, strip)
        assert torch.equal(found, whole)

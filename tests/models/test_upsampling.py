import pytest
import torch
import torch.nn.functional as F

from mmcontrast.models.upsampling import upsampled_argmax


@pytest.mark.parametrize('size', [(37, 50), (9, 7), (4, 3), (64, 5), (1, 1)])
@pytest.mark.parametrize('align_corners', [False, True])
def test_labels_are_those_of_the_whole_map(size, align_corners):
    logits = torch.randn(2, 6, 9, 7, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits, size, mode='bilinear',
                          align_corners=align_corners).argmax(1)
    # Strips of one row, of some, and all at once.
    for strip in (1, 6 * size[1] * 3, 10 ** 9):
        found = upsampled_argmax(logits, size, align_corners, strip)
        assert torch.equal(found, whole)


def test_many_slots_of_many_images_in_strips_give_the_winners_of_all():
    scores = torch.randn(3, 50, 4, 5, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(scores, (9, 7), mode='bilinear').argmax(1)
    # Strips of one row of one image, of some rows, of two images, and of all.
    for strip in (1, 50 * 7 * 4, 50 * 63 * 2, 10 ** 9):
        assert torch.equal(upsampled_argmax(scores, (9, 7), strip=strip), whole)


def test_an_empty_batch_has_no_labels():
    assert upsampled_argmax(torch.randn(0, 6, 9, 7), (37, 50)).shape == (0, 37, 50)

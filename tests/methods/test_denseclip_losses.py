"""DenseCLIP's cross entropies: mmseg's numbers, a strip of rows at a time."""
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmcontrast.methods.denseclip.pixel_loss import upsampled_cross_entropy


def the_usual_way(logits, labels):
    upsampled = F.interpolate(
        logits, labels.shape[1:], mode='bilinear', align_corners=False)
    correct = (upsampled.argmax(1) == labels) & (labels != 255)
    return F.cross_entropy(
        upsampled, labels, ignore_index=255, reduction='sum'
    ), correct


@pytest.mark.parametrize('small, size, strip', [
    ((2, 5, 4, 6), (128, 192), 4000),           # whole steps of 32
    ((2, 5, 7, 5), (33, 41), 450),              # odd ratios, two rows a strip
    ((1, 3, 9, 9), (4, 4), 12),                 # labels smaller than the map
    ((1, 7, 1, 1), (5, 6), 1),                  # one cell; a strip is never empty
    ((1, 4, 8, 8), (8, 8), 10 ** 9)])           # same size, one strip
def test_value_and_gradient_are_those_of_upsampling_first(small, size, strip):
    torch.manual_seed(0)
    logits = torch.randn(small, requires_grad=True)
    labels = torch.randint(small[1], (small[0], *size))
    labels[torch.rand(labels.shape) < 0.2] = 255
    wanted, correct = the_usual_way(logits, labels)
    found = upsampled_cross_entropy(logits, labels, 255, strip)
    torch.testing.assert_close(found.loss, wanted)
    assert found.correct.item() == correct.sum().item()
    (wanted_grad,), (found_grad,) = (
        torch.autograd.grad(3 * loss, logits) for loss in (wanted, found.loss))
    torch.testing.assert_close(found_grad, wanted_grad, rtol=1e-4, atol=1e-5)


class Largest(TorchDispatchMode):
    """The most elements that a tensor has while this is on."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_nothing_as_large_as_the_upsampled_logits_is_allocated():
    logits = torch.randn(2, 50, 16, 16, requires_grad=True)
    labels = torch.randint(50, (2, 128, 128))
    whole = 2 * 50 * 128 * 128
    with Largest() as usual:
        the_usual_way(logits, labels)[0].backward()
    with Largest() as strips:
        upsampled_cross_entropy(logits, labels, 255, 50 * 128 * 4).loss.backward()
    assert usual.elements == whole
    assert strips.elements <= whole // 32


def test_half_precision_is_summed_in_float32():
    logits = torch.randn(1, 5, 4, 4).bfloat16().requires_grad_()
    labels = torch.randint(5, (1, 64, 64))
    with torch.autocast('cpu', torch.bfloat16):
        found = upsampled_cross_entropy(logits, labels)
    wanted, _ = the_usual_way(logits.detach().float(), labels)
    torch.testing.assert_close(found.loss, wanted)
    found.loss.backward()
    assert logits.grad.dtype == torch.bfloat16


def test_without_gradients_only_the_value_is_computed():
    logits = torch.randn(1, 5, 4, 4)
    found = upsampled_cross_entropy(logits, torch.randint(5, (1, 64, 64)))
    assert not found.loss.requires_grad


def test_a_label_that_is_no_class_is_rejected():
    with pytest.raises(IndexError, match='out of bounds'):
        upsampled_cross_entropy(torch.randn(1, 5, 4, 4), torch.full((1, 8, 8), 7))


# The losses of mmseg's heads.

def head(**changes):
    pytest.importorskip('mmseg')
    from mmcontrast.methods.denseclip.head_loss import IdentityHead
    return IdentityHead(3, **changes)


@pytest.mark.parametrize('changes', [
    {}, dict(ignore_index=2), dict(align_corners=True),
    dict(loss_decode=dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True)),
    dict(loss_decode=dict(type='mmseg.CrossEntropyLoss', class_weight=[1., 2., 3.])),
    dict(loss_decode=[
        dict(type='mmseg.CrossEntropyLoss', loss_weight=0.5),
        dict(type='mmseg.DiceLoss', loss_name='loss_dice')]),
    dict(loss_decode=[dict(type='mmseg.CrossEntropyLoss', loss_weight=0.5),
                      dict(type='mmseg.CrossEntropyLoss', loss_weight=2.)]),
    dict(sampler=dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=50))])
def test_heads_get_the_losses_that_mmseg_gives_them(changes):
    from mmcontrast.methods.denseclip.head_loss import head_loss
    from tests.helpers.tiny_denseclip import samples
    net, logits = head(**changes), torch.randn(2, 3, 4, 6, requires_grad=True)
    batch = samples()
    if 'ignore_index' in changes:
        for sample in batch:
            sample.gt_sem_seg.data.clamp_(max=2)
    found, wanted = (loss(logits, batch) for loss in (
        lambda *given: head_loss(net, *given), lambda *given: net.loss(*given, {})))
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(
        sum(v for k, v in losses.items() if 'loss' in k), logits)[0]
        for losses in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_the_identity_head_has_no_weights_and_can_be_initialized():
    net = head()
    net.init_weights()
    assert net.state_dict() == {} and net.loss_decode.loss_weight == 0.4

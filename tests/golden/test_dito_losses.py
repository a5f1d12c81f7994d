"""The focal contrastive loss of RO-ViT against its code."""
import pytest
import torch

from mmcontrast.models import ContrastiveLoss
from tests.helpers.dito_case import Case


@pytest.fixture
def case():
    return Case('focal_contrastive')


def focal(case, chunk_size=5, **settings):
    return ContrastiveLoss(
        'focal', chunk_size, alpha=case.config['alpha'], gamma=case.config['gamma'],
        **settings)


def test_focal_loss_and_its_gradient_are_those_of_the_reference(case):
    image, text = case.input('img'), case.input('txt')
    scale, pairs = 1 / case.config['temp'], len(image)
    # The reference takes the plain sum, ours is divided by the number of pairs.
    loss = focal(case)
    case.check(dict(image_to_text=pairs * loss(image, text, scale),
                    text_to_image=pairs * loss(text, image, scale)))
    image, text = torch.nn.functional.normalize(torch.stack([image, text]), dim=-1)
    # Texts are unit vectors, so that the images are the logits.
    logits = (scale * image @ text.t()).requires_grad_()
    loss = pairs * focal(case, normalize=False)(logits, torch.eye(pairs), 1.)
    loss.backward()
    case.check(dict(grad_logits=logits.grad))

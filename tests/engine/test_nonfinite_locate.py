"""Which part of a model is named as the origin of non-finite values."""
import shlex

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmcontrast.engine.nonfinite import rerun_step
from mmcontrast.engine.nonfinite.message import RankReport, full_text
from tests.helpers.fragile import Ratio


class Mask(nn.Module):
    def forward(self, x):
        return torch.full_like(x, -torch.inf).triu(1)


class Attention(nn.Module):
    def forward(self, x, mask):
        return (x + mask).softmax(-1) + 0 * x


class OwnCode(BaseModel):
    """A masked attention, which is fine, then trouble in the model's own code."""

    def __init__(self, trouble):
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.mask, self.attention, self.ratio = Mask(), Attention(), Ratio()
        self.trouble = trouble

    def forward(self, inputs, data_samples=None, mode='loss'):
        x = self.first(inputs)
        x = self.attention(x, self.mask(x))
        if self.trouble == 'between':
            x = self.last((x - x) / (x - x))
        elif self.trouble == 'loss':
            return dict(loss=(x - x).sum().log() * 0)
        elif self.trouble == 'child':
            x = self.last(self.ratio(x - x))
        elif self.trouble == 'slope':
            # 0 at equality, with an infinite slope.
            x = (self.last(x) - self.last(x)).square().sum(1).sqrt()
        return dict(loss=x.mean())


@pytest.mark.parametrize('trouble, origin', [
    ('between', 'the model itself (OwnCode), in its forward, in its own code after '
     'attention (Attention); last (Linear) got the values'),
    ('loss', 'the model itself (OwnCode), in its forward, in its own code after '
     'attention (Attention)'),
    ('child', 'ratio (Ratio), in its forward'),
    ('slope', 'the model itself (OwnCode), in the backward of its own code on what '
     'last (Linear), call 2 gave')])
def test_code_between_modules_is_distinguished_from_the_modules(trouble, origin):
    torch.manual_seed(0)
    found = rerun_step(OwnCode(trouble), dict(inputs=torch.rand(3, 3)))
    assert found.origin.sentence == origin
    assert not found.error


def test_nothing_is_named_where_all_is_finite():
    found = rerun_step(OwnCode(''), dict(inputs=torch.rand(3, 3)))
    assert found.origin is None and found.backward_done and not found.parameters


def test_the_command_in_the_message_can_be_typed_for_any_folder():
    report = RankReport('loss', None, 0, {}, [], [], [],
                        saved='my runs/nonfinite/iter_3')
    command = next(line for line in full_text(report, 3, [0]).splitlines()
                   if 'replay.py' in line).partition('python ')[2]
    assert shlex.split(command)[1] == 'my runs/nonfinite/iter_3'

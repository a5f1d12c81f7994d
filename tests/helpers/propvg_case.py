"""The golden cases of PropVG.

    case = Case('simple_fpn')
    neck.load_state_dict(renamed(case.params()))    # keys of the reference
    case.check(dict(c1=neck(case.draw('neck/x'))[0]))
"""
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmcontrast.testing import fill, golden

FOLDER = Path(__file__).parents[1] / 'golden' / 'propvg'
SALT = re.compile(r'(\S+) \(salt (\S+)\)')


class Case(golden.Case):
    """Inputs are drawn by name; statistics of outputs that are stored in part count."""

    def __init__(self, name: str) -> None:
        super().__init__(FOLDER, name)

    @property
    def config(self) -> dict:
        return self.meta['config']

    def params(self, prefix: str = '') -> dict[str, Tensor]:
        """Weights under the names of the reference; buffers keep their real value."""
        weights = super().params(prefix)
        for key, value in self.meta.get('constants', {}).items():
            if key.startswith(prefix):
                weights[key.removeprefix(prefix)] = torch.tensor(value)
        return weights

    def extra_params(self, module: str) -> dict[str, Tensor]:
        """Weights of a further module of the case, drawn with a salt of its own."""
        for title, shapes in self.meta['extra_params'].items():
            name, salt = SALT.fullmatch(title).groups()
            if name == module:
                return fill.fill_state_dict(shapes, salt)
        raise KeyError(module)

    def draw(self, name: str, shape: list[int] | None = None, scale: float = 1.0
             ) -> Tensor:
        """Normal numbers of an input, by the shape that the case gives for it."""
        if shape is None:
            shape, = (item['shape'] for item in self.meta['inputs']
                      if item['name'] == name)
        return fill.randn(f'propvg/{name}', shape, scale)

    def compare(self, name: str, value) -> str:
        """Also the statistics of the whole output, which are stored beside a part."""
        differs, output = super().compare(name, value), self.outputs[name]
        if differs or 'mean' not in output:
            return differs
        got = np.asarray(value.detach().cpu() if torch.is_tensor(value) else value,
                         dtype=np.float64)
        allowed = self.tolerance(name)
        for statistic, found in dict(mean=got.mean(), std=got.std(),
                                     norm=np.linalg.norm(got)).items():
            wanted = output[statistic]
            limit = max(allowed.atol, allowed.rtol * max(abs(wanted), output['std']))
            if abs(found - wanted) > limit:
                return f'{statistic} {found:.6g}, want {wanted:.6g} within {limit:.3g}'
        return ''


def padding_mask(lengths: list[int], total: int) -> Tensor:
    """(B, T) bool, True after the given number of tokens."""
    return torch.arange(total) >= torch.tensor(lengths)[:, None]

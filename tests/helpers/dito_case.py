"""The golden cases of DITO.

    case = Case('simple_fpn_p2_p5')
    neck.load_state_dict(case.params('neck.'))      # keys as in the case
    case.check(dict(zip(case.outputs, neck(case.input('x')))))
"""
from pathlib import Path

import numpy as np
import torch

from mmcontrast.testing import golden

FOLDER = Path(__file__).parents[1] / 'golden' / 'dito'
# Above this an output is stored as every k-th element.
WHOLE = 20000


class Case(golden.Case):
    """Inputs may be made absolute, rounded or whole; weights may be overridden."""

    def __init__(self, name: str) -> None:
        super().__init__(FOLDER, name)

    @property
    def config(self) -> dict:
        return self.meta['config']

    def params(self, prefix: str = '') -> dict:
        weights = super().params(prefix)
        for key, (factor, shift) in self.meta.get('param_overrides', {}).items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                weights[name] = weights[name] * factor + shift
        return weights

    def input(self, name: str, **fields):
        recipe = self.meta['inputs'][name]
        if 'value' in recipe:
            return super().input(name, **fields)
        made = golden.build(dict(recipe, scale=1.0, shift=0.0))
        made = made.abs() if recipe.get('abs') else made
        made = recipe.get('shift', 0.0) + recipe.get('scale', 1.0) * made
        if 'round_to' in recipe:
            made = torch.round(made / recipe['round_to']) * recipe['round_to']
        if 'int_mod' in recipe:
            made = torch.floor(made * recipe['int_mod']).long()
        return made

    def stored(self, name: str):
        size = int(np.prod(self.outputs[name]['shape']))
        step = 1 if size <= WHOLE else -(-size // 8191) | 1
        return self.arrays[name], lambda x: x.ravel()[::step]

    def compare(self, name: str, value) -> str:
        """Also the mean and std of the whole output, which are stored beside a part.
        """
        differs = super().compare(name, value)
        if differs:
            return differs
        got = np.asarray(value.detach().cpu() if torch.is_tensor(value) else value,
                         dtype=np.float64)
        if not got.size:
            return ''
        mean, std, norm = self.arrays[f'{name}@stats']
        limit = 10 * self.outputs[name]['tol'] * max(norm / got.size ** 0.5, 1e-6)
        found = got.mean(), got.std()
        if max(abs(found[0] - mean), abs(found[1] - std)) <= limit:
            return ''
        return f'mean and std {found}, want {(mean, std)} within {limit:.3g}'

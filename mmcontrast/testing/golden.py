"""Compare a method with numbers that its reference implementation gave.

A golden case is two files: ``NAME.json`` holds shapes of weights, recipes of inputs,
shapes of outputs and tolerances; ``NAME.npz`` holds the outputs. Weights and inputs are
drawn by name (:mod:`mmcontrast.testing.fill`), so both stay small::

    case = Case('tests/golden/pixpro', 'model_r50_96')
    model.load_state_dict(renamed(case.params()))   # names of the reference
    loss = model(case.input('im_1'), case.input('im_2'))
    case.check(dict(loss=loss))                     # any subset of the outputs

Case files of several makers are read: :func:`build` knows the keys of a recipe,
:meth:`Case.tolerance` where a tolerance is given, :meth:`Case.stored` how an output is
stored. A kind of input of your own is a function in :data:`RECIPES`,
``f(recipe) -> tensor``.
"""
import fnmatch
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import fill

# Name of a recipe -> function that makes the tensor of it.
RECIPES: dict[str, Callable] = {
    'randn': lambda r: fill.randn(_name(r), r['shape'], r.get('scale', 1.0)),
    'rand': lambda r: r.get('scale', 1.0) * fill.rand(_name(r), r['shape']),
    'zeros': lambda r: torch.zeros(r['shape'], dtype=_dtype(r)),
    'values': lambda r: torch.tensor(r['values'], dtype=_dtype(r)),
    'stack': lambda r: torch.stack([build(item) for item in r['items']]),
    'list': lambda r: [build(item) for item in r['items']],
}


@dataclass(frozen=True)
class Tolerance:
    """How far an output may lie from the reference.

    Attributes:
        rtol: Share of the reference value, element by element.
        atol: Absolute.
        atol_rel: Share of the largest finite absolute reference value of the output.
        bad_fraction: Share of the elements that may lie outside; the only one that
            counts for integers and booleans, which must be equal.
    """

    rtol: float = 0.0
    atol: float = 0.0
    atol_rel: float = 0.0
    bad_fraction: float = 0.0

    @classmethod
    def of(cls, given: dict) -> 'Tolerance':
        known = {key: given[key] for key in cls.__dataclass_fields__ if key in given}
        return cls(**known)


class Case:
    """One golden case.

    Attributes:
        meta: The whole JSON file.
        arrays: The stored arrays by name.
        outputs: What is known of each output, by name.

    Args:
        folder: Where the files are.
        name: Their name without an ending; the ``.npz`` may be missing.
    """

    def __init__(self, folder, name: str) -> None:
        path = Path(folder)
        self.meta = json.loads((path / f'{name}.json').read_text())
        stored = path / f'{name}.npz'
        self.arrays = dict(np.load(stored)) if stored.exists() else {}
        self.outputs = self.meta.get('outputs', {})

    def params(self, prefix: str = '') -> dict[str, Tensor]:
        """Weights under the names of the reference.

        Args:
            prefix: Only the names that begin so, which then go without it.
        """
        shapes = self.meta.get('params', self.meta.get('state', {}))
        salt = self.meta.get('salt', self.meta.get('param_salt', ''))
        scales = self.meta.get('state_scale', {})
        weights = {}
        for key, shape in shapes.items():
            if key.startswith(prefix):
                value = fill.fill_value(key, shape, salt)
                for ending, factor in scales.items():
                    if f'.{key}'.endswith(f'.{ending}'):
                        value = value * factor
                weights[key.removeprefix(prefix)] = value
        return weights

    def input(self, name: str, **fields):
        """An input, built from its recipe.

        Args:
            name: ``'a/b'`` reaches into a nested recipe.
            fields: Fills ``<step>`` and the like in the name that a recipe draws by.
        """
        recipe = self.meta['inputs']
        for part in [name] if name in recipe else name.split('/'):
            recipe = recipe[part]
        return build(recipe, **fields)

    def inputs(self) -> dict:
        """All inputs by name."""
        return {name: self.input(name) for name in self.meta['inputs']}

    def tolerance(self, name: str) -> Tolerance:
        """The tolerance of an output: its own, that of a pattern, or the case's."""
        meta, output = self.meta, self.outputs[name]
        given = meta.get('tolerance', meta)
        if given == 'exact':
            return Tolerance()
        for pattern, override in meta.get('tolerance_overrides', []):
            if fnmatch.fnmatchcase(name, pattern):
                return Tolerance.of(override)
        if 'tolerance' in output:
            given = output['tolerance']
        elif 'tol' in output:
            given = dict(atol_rel=output['tol'])
        elif 'default' in given:
            given = given.get(name, given['default'])
        return Tolerance.of(given)

    def stored(self, name: str) -> tuple[np.ndarray, Callable]:
        """What is stored of an output, and the function that takes as much of ours."""
        output = self.outputs[name]
        how = str(output.get('stored', output.get('store', 'full')))
        step = output.get('stride', output.get('step', 1))
        if how.startswith('numpy.packbits'):
            return self.arrays[name], lambda x: np.packbits(x.astype(bool).ravel())
        if how.startswith('slice'):
            return self.arrays[f'{name}__slice'], lambda x: x.ravel()[::step]
        if step == 1:
            return self.arrays[name], lambda x: x
        return self.arrays[name], lambda x: x.ravel()[::step]

    def compare(self, name: str, value) -> str:
        """How one output differs from the reference; '' if it is within tolerance."""
        output = self.outputs[name]
        if 'value' in output:
            same = value == output['value']
            return '' if same else f'{value!r}, want {output["value"]!r}'
        got = value.detach().cpu() if isinstance(value, Tensor) else value
        got = np.asarray(got)
        if list(got.shape) != output['shape']:
            return f'shape {list(got.shape)}, want {output["shape"]}'
        want, part = self.stored(name)
        return _difference(part(got).reshape(want.shape), want, self.tolerance(name))

    def check(self, outputs: dict) -> None:
        """Compare outputs by name.

        Raises:
            AssertionError: With a line for every output that is out of tolerance.
        """
        wrong = {name: self.compare(name, value) for name, value in outputs.items()}
        lines = [f'{name}: {what}' for name, what in wrong.items() if what]
        assert not lines, '\n'.join(lines)


def build(recipe, **fields):
    """Build an input from its recipe.

    Args:
        recipe: A dict that names its function under ``fn``, ``gen`` or ``make``, or
            holds its ``value``; a list stands for a tensor, anything else for itself.
        fields: See :meth:`Case.input`.
    """
    if isinstance(recipe, list):
        return torch.tensor(recipe)
    if not isinstance(recipe, dict):
        return recipe
    if 'value' in recipe:
        made = torch.tensor(recipe['value'], dtype=_dtype(recipe))
        return made.reshape(recipe['shape']) if 'shape' in recipe else made
    kind = next(recipe[key] for key in ('fn', 'gen', 'make') if key in recipe)
    drawn_by = _name(recipe)
    for key, value in fields.items():
        drawn_by = drawn_by.replace(f'<{key}>', str(value))
    made = RECIPES[kind.removeprefix('fill.')](recipe | dict(key=drawn_by))
    return made + recipe['shift'] if 'shift' in recipe else made


def _name(recipe: dict) -> str:
    """What a recipe draws by; its makers call it differently."""
    return next((recipe[key] for key in ('key', 'fill_name', 'seed', 'name')
                 if key in recipe), '')


def _dtype(recipe: dict) -> torch.dtype:
    return getattr(torch, recipe.get('dtype', 'float32'))


def _difference(got: np.ndarray, want: np.ndarray, tolerance: Tolerance) -> str:
    """How ``got`` differs from ``want``; '' if it is within tolerance."""
    if want.dtype.kind == 'f':
        got, want = got.astype(np.float64), want.astype(np.float64)
        finite = np.isfinite(want)
        largest = np.abs(want[finite]).max(initial=0)
        with np.errstate(invalid='ignore'):  # inf - inf and 0 * inf
            error = np.abs(got - want)
            limit = (tolerance.atol + tolerance.rtol * np.abs(want)
                     + tolerance.atol_rel * largest)
        # NaN and infinities where the reference has them, and nowhere else.
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        bad = np.where(finite, ~(error <= limit), ~same)
    else:
        error, bad = np.abs(got.astype(np.float64) - want), got != want
    share = float(bad.mean()) if bad.size else 0.0
    if share <= tolerance.bad_fraction:
        return ''
    shown = tolerance if want.dtype.kind == 'f' else 'equal values'
    return (f'max error {np.nanmax(error, initial=0):.3g}, {share:.1%} of the values '
            f'out of tolerance ({shown})')

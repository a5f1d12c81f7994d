"""Read a golden case: rebuild its weights and inputs, compare outputs.

    case = Case('attnpool_interp')
    module.load_state_dict(case.state())       # keys as in the reference
    x = case.input('x')
    case.check({'global': g, 'local': f})      # any subset of case.outputs
"""
import fnmatch
import json
import os

import numpy as np
import torch

from mmcontrast.methods.denseclip.weights import FORMER_KEYS
from tests.helpers import fill

_here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                     'golden', 'denseclip')


def released_name(name):
    """The released name of one of our parameters."""
    for released, ours in FORMER_KEYS.items():
        if name == ours or name.startswith(f'{ours}.'):
            return released + name[len(ours):]
    return name


def prompting_state(state):
    """Released weights as those of a PixelTextPrompting alone."""
    return {key.replace('text_encoder.', 'class_texts.text_encoder.').replace(
        'contexts', 'class_texts.contexts'): value for key, value in state.items()}


class Case:

    def __init__(self, name, root=_here):
        with open(os.path.join(root, name + '.json')) as f:
            self.meta = json.load(f)
        path = os.path.join(root, name + '.npz')
        self.arrays = dict(np.load(path)) if os.path.exists(path) else {}
        self.outputs = self.meta['outputs']

    def state(self, prefix=''):
        """Filled state dict; with a prefix, only the keys under it, prefix cut off."""
        out = {}
        for key, shape in self.meta['state'].items():
            if not key.startswith(prefix):
                continue
            value = fill.fill_value(key, shape, self.meta.get('salt', ''))
            for pattern, factor in self.meta.get('state_scale', {}).items():
                if key == pattern or key.endswith('.' + pattern):
                    value = value * factor
            out[key[len(prefix):]] = value
        return out

    def archive(self):
        """State dict of a conversion case: made-up OpenAI weights in half precision
        plus the scalar entries."""
        state = {k: fill.fill_value(k, s, self.meta['salt'])
                 for k, s in self.meta['archive_state'].items()}
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        state['logit_scale'] = torch.tensor(4.6052)
        state.update(input_resolution=torch.tensor(224),
                     context_length=torch.tensor(77), vocab_size=torch.tensor(49408))
        return state

    def input(self, name):
        given = self.meta['inputs'][name]
        if not isinstance(given, dict) or 'make' not in given:
            return given
        if given['make'] == 'fill.randn':
            return fill.randn(given['fill_name'], given['shape'], given['scale'])
        if given['make'].startswith('scale * (2 * fill.rand'):
            uniform = fill.rand(given['fill_name'], given['shape'])
            return given['scale'] * (2 * uniform - 1)
        labels = fill.rand(given['fill_name'], given['shape'])
        labels = (labels * given['num_classes']).floor().long()
        ignored = fill.rand(given['fill_name'] + '_ign', given['shape'])
        labels[ignored < given['ignore']] = 255
        return labels

    def compare(self, name, value):
        """(passes, worst error / tolerance) of one output."""
        stored = self.outputs[name]
        if 'value' in stored:
            return value == stored['value'], 0.0
        got = (value.detach().cpu().numpy() if isinstance(value, torch.Tensor)
               else np.asarray(value))
        if list(got.shape) != stored['shape']:
            return False, float('inf')
        want = self.arrays[name]
        if stored['stored'].startswith('numpy.packbits'):
            same = np.array_equal(np.packbits(got.astype(bool).ravel()), want)
            return same, 0.0 if same else float('inf')
        if stored['stored'] == 'flat[::stride]':
            got = got.ravel()[::stored['stride']]
        if want.dtype.kind != 'f':
            # Arg-max maps may differ where two classes tie.
            same = float((got == want).mean()) >= (0.999 if 'pred' in name else 1)
            return same, 0.0 if same else float('inf')
        got, want = got.astype(np.float64), want.astype(np.float64)
        nan = np.isnan(want)
        if (np.isnan(got) != nan).any():
            return False, float('inf')
        got, want = got[~nan], want[~nan]
        if want.size == 0:
            return True, 0.0
        tolerance = self._tolerance(name)
        limit = (tolerance['rtol'] * np.abs(want)
                 + tolerance['atol_rel'] * np.abs(want).max() + 1e-12)
        worst = float((np.abs(got - want) / limit).max())
        return worst <= 1, worst

    def check(self, outputs):
        """Raise AssertionError that lists every output out of tolerance."""
        report = {k: self.compare(k, v) for k, v in outputs.items()}
        bad = {k: worst for k, (ok, worst) in report.items() if not ok}
        assert not bad, (f"{self.meta['case']}: outside tolerance "
                         f'(error / tolerance): {bad}')
        return report

    def _tolerance(self, name):
        for pattern, tolerance in self.meta.get('tolerance_overrides', []):
            if fnmatch.fnmatchcase(name, pattern):
                return tolerance
        return self.meta['tolerance']

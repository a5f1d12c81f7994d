"""The golden cases of DenseCLIP.

    case = Case('attnpool_interp')
    module.load_state_dict(case.state())       # keys as in the reference
    x = case.input('x')
    case.check({'global': g, 'local': f})      # any subset of case.outputs
"""
from dataclasses import replace
from pathlib import Path

import torch

from mmcontrast.methods.denseclip.weights import FORMER_KEYS
from mmcontrast.testing import fill, golden

FOLDER = Path(__file__).parents[1] / 'golden' / 'denseclip'


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


class Case(golden.Case):
    """Lists of its inputs stay lists; label maps and zero-centered noise are made here.
    """

    def __init__(self, name: str) -> None:
        super().__init__(FOLDER, name)

    def state(self, prefix: str = '') -> dict:
        return self.params(prefix)

    def archive(self) -> dict:
        """State dict of a conversion case: made-up OpenAI weights in half precision
        plus the scalar entries."""
        state = fill.fill_state_dict(self.meta['archive_state'], self.meta['salt'])
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        state['logit_scale'] = torch.tensor(4.6052)
        state.update(input_resolution=torch.tensor(224),
                     context_length=torch.tensor(77), vocab_size=torch.tensor(49408))
        return state

    def input(self, name: str):
        given = self.meta['inputs'][name]
        if not isinstance(given, dict) or 'make' not in given:
            return given
        if given['make'].startswith('scale * (2 * fill.rand'):
            uniform = fill.rand(given['fill_name'], given['shape'])
            return given['scale'] * (2 * uniform - 1)
        if given['make'].startswith('int64: '):
            labels = fill.rand(given['fill_name'], given['shape'])
            labels = (labels * given['num_classes']).floor().long()
            ignored = fill.rand(given['fill_name'] + '_ign', given['shape'])
            labels[ignored < given['ignore']] = 255
            return labels
        return super().input(name)

    def tolerance(self, name: str) -> golden.Tolerance:
        # Arg-max maps may differ where two classes tie.
        ties = 0.001 if 'pred' in name and self.is_whole(name) else 0.0
        return replace(super().tolerance(name), bad_fraction=ties, atol=1e-12)

    def is_whole(self, name: str) -> bool:
        """Whether an output is of whole numbers, which are stored one by one."""
        packed = str(self.outputs[name].get('stored')).startswith('numpy.packbits')
        return not packed and self.arrays[name].dtype.kind != 'f'

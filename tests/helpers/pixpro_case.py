"""Load a golden case and compare results with it.

    c = Case('golden/pixpro', 'model_r50_96')
    sd = c.params()                      # {reference key: tensor}
    x = c.input('im_1')                  # tensors made by fill.randn / fill.rand
    c.check(dict(loss=my_loss, ...))     # any subset of c.meta['outputs']
"""
import json
import os

import numpy as np
import torch

from tests.helpers import fill


class Case:
    def __init__(self, folder, name):
        with open(os.path.join(folder, name + '.json')) as f:
            self.meta = json.load(f)
        self.npz = np.load(os.path.join(folder, name + '.npz'))

    def params(self):
        """Filled reference parameters (see the notes for special rules)."""
        return fill.fill_state_dict(self.meta['params'],
                                    self.meta.get('salt', ''))

    def input(self, name, **place):
        """Tensor of an input; place fills <step>, <view>, <name> in its key."""
        d = self.meta['inputs']
        for part in name.split('/'):     # 'rank0/im_1' reaches into rank0
            d = d[part]
        if isinstance(d, list):
            return torch.tensor(d)
        key = d['key']
        for k, v in place.items():
            key = key.replace(f'<{k}>', str(v))
        fn = getattr(fill, d['fn'].split('.')[1])
        return fn(key, d['shape'], *([d['scale']] if 'scale' in d else []))

    def check(self, outputs):
        """Raise AssertionError that lists every output out of tolerance."""
        bad = []
        for k, t in outputs.items():
            d = self.meta['outputs'][k]
            t = t.detach().cpu().numpy() if torch.is_tensor(t) else \
                np.asarray(t)
            if list(t.shape) != d['shape']:
                bad.append(f'{k}: shape {list(t.shape)}, want {d["shape"]}')
                continue
            if d['store'] == 'full':
                a, b = t, self.npz[k]
            else:
                a, b = t.reshape(-1)[::d['stride']], self.npz[k + '__slice']
            tol = d.get('tolerance', self.meta['tolerance'])
            a, b = a.astype(np.float64), b.astype(np.float64)
            err = np.abs(a - b)
            lim = tol['atol'] + tol['rtol'] * np.abs(b)
            if not (err <= lim).all():
                bad.append(f'{k}: max error {np.nanmax(err):.3g}, '
                           f'{float((~(err <= lim)).mean()):.1%} of the '
                           f'values out of tolerance {tol}')
        assert not bad, '\n'.join(bad)

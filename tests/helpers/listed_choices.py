"""Random choices that a golden case lists, handed to our transforms."""
import math

import numpy as np
from PIL import Image

from mmcontrast.datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
)
from mmcontrast.testing import fill


class ListedDraws:
    """Hands out the unit draws that a row lists, in the order they are asked for."""

    def __init__(self, row):
        self.uniforms = iter(row['unit_uniform'])
        self.randints = iter(row['unit_randint'])
        self.num_uniforms = 0

    def uniform(self, low, high):
        self.num_uniforms += 1
        return low + (high - low) * next(self.uniforms)

    def randint(self, low, high):
        return low + math.floor(next(self.randints) * (high - low + 1))


def apply_choice(view, name, *params):
    """One change of color; crops and flips are no business of this function."""
    if name.startswith('adjust_'):
        return ViewColorJitter.apply(
            view, [(name.removeprefix('adjust_'), params[0])])
    return {'hflip': lambda: view,
            'rgb_to_grayscale': lambda: ViewGrayscale.apply(view),
            'blur': lambda: ViewGaussianBlur.apply(view, params[0]),
            'solarize': lambda: ViewSolarize.apply(view, 128)}[name]()


def force_steps(steps, choices):
    """Make each step of a recipe happen, or not, with the listed parameters."""
    jitter = [(name.removeprefix('adjust_'), params[0]) for name, *params in choices
              if name.startswith('adjust_')]
    listed = {ViewColorJitter: jitter}
    for name, *params in choices:
        listed |= {'rgb_to_grayscale': {ViewGrayscale: None},
                   'blur': {ViewGaussianBlur: (params or [0])[0]},
                   'solarize': {ViewSolarize: 128}}.get(name, {})
    for step in steps:
        value = listed.get(type(step))
        step.prob = float(type(step) in listed and value != [])
        step.draw = lambda rng, value=value: value


def made_up_image(case):
    """Colored blocks and a ramp, as the input ``image`` of a case describes them."""
    given = case.meta['inputs']['image']
    height, width, _ = given['shape']
    blocks = fill.rand(given['key'], (math.ceil(height / 8), math.ceil(width / 8), 3))
    blocks = np.kron(blocks.double().numpy(), np.ones((8, 8, 1)))[:height, :width]
    ramp = np.arange(width)[None, :, None] * 55 / width
    return Image.fromarray(np.floor(blocks * 200 + ramp).astype(np.uint8))

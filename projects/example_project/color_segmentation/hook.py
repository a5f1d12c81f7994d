"""Draw the learned class colors during training."""
import numpy as np
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmcontrast.registry import HOOKS


@HOOKS.register_module()
class ClassColorsHook(Hook):
    """Draw the color of each class after every epoch, as ``class_colors``.

    Args:
        side: Of a color's square, in pixels.
    """

    priority = 'LOW'

    def __init__(self, side: int = 32) -> None:
        self.side = side

    def after_train_epoch(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        pixels = model.data_preprocessor
        colors = model.prototypes.detach()[:, :3] * pixels.std.view(3)
        colors = colors + pixels.mean.view(3)
        row = colors.clamp(0, 255).cpu().numpy().astype(np.uint8)[None]
        square = row.repeat(self.side, axis=0).repeat(self.side, axis=1)
        runner.visualizer.add_image('class_colors', square, step=runner.iter)

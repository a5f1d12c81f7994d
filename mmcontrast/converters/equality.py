"""Verify by a forward pass that converted weights give the same outputs."""
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
Outputs = Mapping[str, Tensor]


def verify_outputs(weights: Weights, run: Callable[[Weights], tuple[Outputs, Outputs]]
                   ) -> list[str]:
    """Compare the outputs of two networks twice: with ``weights`` and random ones.

    A fresh residual network multiplies its branches by zero, and zeros are equal
    whatever was mixed up; random weights show it.

    Args:
        weights: The weights of the file.
        run: Loads weights into both networks; gives expected and actual outputs.

    Returns:
        One line for each comparison, for the report.

    Raises:
        ValueError: If an output differs.
    """
    lines = []
    for name, given in (('weights of the file', dict(weights)),
                        ('random weights', randomized(weights))):
        with torch.no_grad():
            lines += compare_outputs(name, *run(given))
    return lines


def verify_stages(source: nn.Module, target: nn.Module, weights: Weights,
                  convert: Callable[[Weights], Weights], size: int = 64) -> list[str]:
    """Verify that two networks give equal stage outputs.

    Args:
        source: Network that ``weights`` fit strictly.
        target: Network that ``convert(weights)`` must fit strictly.
        weights: The weights of the file.
        convert: The renaming to verify.
        size: Height and width of the input.

    Returns:
        One line for each comparison, for the report.

    Raises:
        ValueError: If an output differs.
    """
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))

    def run(given: Weights) -> tuple[Outputs, Outputs]:
        source.load_state_dict(given)
        target.load_state_dict(convert(given))
        return stage_maps(source, image), stage_maps(target, image)
    return verify_outputs(weights, run)


def compare_outputs(name: str, expected: Outputs, got: Outputs) -> list[str]:
    """One line with the largest difference of every output.

    Raises:
        ValueError: If a difference exceeds 1e-5 of the largest value, or a value is
            not finite.
    """
    parts = []
    for key, value in expected.items():
        if key not in got or got[key].shape != value.shape:
            found = tuple(got[key].shape) if key in got else 'none'
            raise ValueError(
                f'Equality check with {name}: {key} is {tuple(value.shape)} in the '
                f'source, {found} in the target. No file was written.')
        if not value.isfinite().all():
            raise ValueError(
                f'Equality check with {name}: {key} of the source is not finite; '
                'nothing can be compared. Did the training diverge?')
        difference = float((got[key] - value).abs().max())
        limit = 1e-5 * float(value.abs().max())
        if not difference <= limit:
            raise ValueError(
                f'Equality check with {name}: {key} differs by up to {difference:.3g} '
                f'(limit {limit:.3g}). The two networks are not the same (stride, '
                'dilation, padding or norm settings?). No file was written.')
        parts.append(f'{key} {difference:.1g}')
    return [f'Equal outputs with {name}; largest difference: ' + ', '.join(parts) + '.']


def stage_maps(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Outputs (N, C, H, W) of the stages, before any output norm.

    Networks with an output norm, and networks other than the ResNets and Swin
    Transformers of mmpretrain, mmdet, mmseg, torchvision, timm and detectron2, also
    give ``output``, what they return.
    """
    resnet = [m for n, m in network.named_children() if re.fullmatch(
        'layer[1-4]|res[2-5]', n)]
    stages = resnet
    for name in ('stages', 'layers'):
        stages = stages or list(getattr(network, name, []))
    maps: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module, args, output):
            maps[name] = _as_map(output)
        return hook

    handles = [stage.register_forward_hook(keep(f'stage{i + 1}'))
               for i, stage in enumerate(stages)]
    network.eval()
    try:
        out = getattr(network, 'forward_features', network)(image)
    finally:
        for handle in handles:
            handle.remove()
    # A ResNet returns its last stage, or (torchvision) the output of the classifier.
    if len(resnet) < 4:
        maps['output'] = _as_map(out if isinstance(out, Tensor) else out[-1])
    return maps


def _as_map(output) -> Tensor:
    if isinstance(output, Tensor):
        # timm's Swin has its channels last; mm libraries return (N, C, H, W).
        last = output.shape[1] == output.shape[2] != output.shape[3]
        return output.permute(0, 3, 1, 2) if last else output
    # Swin of mmpretrain: (x, shape); of mmdet: (x after merging, shape, x, shape).
    tokens, (height, width) = output[-2:]
    return tokens.transpose(1, 2).unflatten(2, (height, width))


def randomized(weights: Weights) -> dict[str, Tensor]:
    """Random weights of the same shapes, each of which affects the outputs."""
    generator = torch.Generator().manual_seed(1)

    def fill(key: str, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        noise = torch.randn(value.shape, generator=generator)
        if key.endswith('running_var'):
            return noise.abs() + 0.5
        if value.ndim <= 1:
            return 0.1 * noise + float(key.endswith('weight'))
        return noise / value[0].numel() ** 0.5
    return {key: fill(key, value).to(value.dtype) for key, value in weights.items()}

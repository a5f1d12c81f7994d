"""Check that all ranks have the same config, model and versions."""
import ast
import hashlib
import json
import socket
from collections.abc import Iterator

import torch
from mmengine.dist import all_gather_object, get_world_size
from torch import nn

from ...errors import UserValueError
from ...io.manifest import versions

# Keys that may differ between ranks.
_MAY_DIFFER = ('work_dir', 'experiment_name', 'local_rank', 'gpu_id', 'gpu_ids',
               'model_wrapper_cfg.device_ids')
_MAX_LINES = 10


class RankMismatchError(UserValueError):
    """Config, model or versions differ between ranks."""


def check_rank_consistency(cfg_text: str, model: nn.Module) -> None:
    """Compare config, parameters and versions of all ranks; collective.

    To be called before the model is wrapped: DDP hangs, or ends with a message that
    names neither rank nor key. Only hashes are exchanged unless they differ. The work
    dir may differ, and the seed with ``diff_rank_seed``.

    Args:
        cfg_text: The config as ``Config.pretty_text`` gives it; it is not executed.
        model: The model, not wrapped.

    Raises:
        RankMismatchError: On every rank. Names the rank and the key, with both values.
    """
    if get_world_size() == 1:
        return
    compared = dict(config=config_values(cfg_text), model=tensor_specs(model),
                    versions=_versions())
    hashes = all_gather_object({part: _hash(compared[part]) for part in compared})
    differing = [part for part in compared if len({h[part] for h in hashes}) > 1]
    if differing:
        found = all_gather_object(
            (socket.gethostname(), {part: compared[part] for part in differing}))
        raise RankMismatchError(_describe(found))


def config_values(text: str) -> dict[str, str]:
    """Dotted key and value, as text, of all that a config sets.

    Keys that may differ between ranks are left out.
    """
    values = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values.update(_flatten(node.targets[0].id, node.value))
    own = list(_MAY_DIFFER)
    if values.get('randomness.diff_rank_seed') == 'True':
        own.append('randomness.seed')
    return {key: value for key, value in values.items()
            if not any(key == name or key.startswith(f'{name}[') for name in own)}


def tensor_specs(model: nn.Module) -> dict[str, str]:
    """Dtype and shape of parameters and buffers, in the order that DDP relies on."""
    specs = {f'parameter {name}': f'{_spec(tensor)}, '
             f'{"trained" if tensor.requires_grad else "frozen"}'
             for name, tensor in model.named_parameters()}
    specs.update((f'buffer {name}', _spec(tensor))
                 for name, tensor in model.named_buffers())
    return specs


def _flatten(key: str, node: ast.expr) -> Iterator[tuple[str, str]]:
    if (isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict'
            and node.keywords and not node.args
            and all(keyword.arg for keyword in node.keywords)):
        for keyword in node.keywords:
            yield from _flatten(f'{key}.{keyword.arg}', keyword.value)
    elif isinstance(node, ast.Dict) and node.keys and all(
            isinstance(k, ast.Constant) for k in node.keys):
        for name, value in zip(node.keys, node.values, strict=True):
            yield from _flatten(f'{key}.{name.value}', value)
    elif isinstance(node, ast.List | ast.Tuple) and any(
            isinstance(item, ast.Call | ast.Dict | ast.List) for item in node.elts):
        for i, item in enumerate(node.elts):
            yield from _flatten(f'{key}[{i}]', item)
    else:
        yield key, ast.unparse(node)


def _spec(tensor: torch.Tensor) -> str:
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return 'lazy, no shape yet'
    return f'{str(tensor.dtype).removeprefix("torch.")} {tuple(tensor.shape)}'


def _versions() -> dict[str, str]:
    # The patch level of Python, and numpy's, may differ between machines.
    return {name: version for name, version in versions().items()
            if name not in ('python', 'numpy')}


def _hash(values: dict) -> str:
    return hashlib.sha256(json.dumps(list(values.items())).encode()).hexdigest()


def _describe(found: list[tuple[str, dict]]) -> str:
    (_, first), lines = found[0], {}
    for rank, (other_host, compared) in enumerate(found[1:], 1):
        for part, values in compared.items():
            for line in _differences(first[part], values):
                lines.setdefault(f'{part}: {line}', []).append(
                    f'{rank} ({other_host})')
    shown = [f'  rank {", ".join(ranks)}: {line}'
             for line, ranks in list(lines.items())[:_MAX_LINES]]
    if len(lines) > _MAX_LINES:
        shown.append(f'  and {len(lines) - _MAX_LINES} more')
    return '\n'.join([
        f'The {len(found)} ranks would train different things:', *shown,
        'Give every rank the same config, code and packages.'])


def _differences(first: dict, other: dict) -> Iterator[str]:
    keys = [*first, *(key for key in other if key not in first)]
    for key in keys:
        here, there = other.get(key, 'nothing'), first.get(key, 'nothing')
        if here != there:
            yield f'{key} is {here}, on rank 0 {there}'
    if first == other and list(first) != list(other):
        a, b = next(pair for pair in zip(other, first, strict=True)
                    if pair[0] != pair[1])
        yield f'order: {a} comes where rank 0 has {b}'

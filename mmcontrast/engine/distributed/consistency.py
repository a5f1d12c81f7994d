"""Ranks that would train different things say so before they start."""
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

# Each rank's own affair.
_OWN = ('work_dir', 'experiment_name', 'local_rank', 'gpu_id', 'gpu_ids',
        'model_wrapper_cfg.device_ids')
_MOST = 10


class RankMismatchError(UserValueError):
    """Config, model or versions differ between ranks."""


def check_rank_consistency(cfg_text: str, model: nn.Module) -> None:
    """Compare config, parameters and versions of all ranks; collective.

    To be called before the model is wrapped: DDP hangs, or ends with a message that
    names neither rank nor key. Only hashes are exchanged unless they differ. Where a
    run keeps its files may differ, and its seed with ``diff_rank_seed``.

    Args:
        cfg_text: The config as ``Config.pretty_text`` gives it; it is not executed.
        model: The model, not wrapped.

    Raises:
        RankMismatchError: On every rank. Names the rank and the key, with both values.
    """
    if get_world_size() == 1:
        return
    facts = dict(config=config_values(cfg_text), model=tensor_forms(model),
                 versions=_versions())
    hashes = all_gather_object({part: _hash(facts[part]) for part in facts})
    differing = [part for part in facts if len({h[part] for h in hashes}) > 1]
    if differing:
        found = all_gather_object(
            (socket.gethostname(), {part: facts[part] for part in differing}))
        raise RankMismatchError(_describe(found))


def config_values(text: str) -> dict[str, str]:
    """Dotted key and value, as text, of all that a config sets.

    Keys that may differ between ranks are left out.
    """
    values = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values.update(_flatten(node.targets[0].id, node.value))
    own = list(_OWN)
    if values.get('randomness.diff_rank_seed') == 'True':
        own.append('randomness.seed')
    return {key: value for key, value in values.items()
            if not any(key == name or key.startswith(f'{name}[') for name in own)}


def tensor_forms(model: nn.Module) -> dict[str, str]:
    """Name and form of every parameter and buffer, in the order that DDP relies on."""
    forms = {f'parameter {name}': f'{_form(tensor)}, '
             f'{"trained" if tensor.requires_grad else "frozen"}'
             for name, tensor in model.named_parameters()}
    forms.update((f'buffer {name}', _form(tensor))
                 for name, tensor in model.named_buffers())
    return forms


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


def _form(tensor: torch.Tensor) -> str:
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return 'without a shape yet'
    return f'{str(tensor.dtype).removeprefix("torch.")} {tuple(tensor.shape)}'


def _versions() -> dict[str, str]:
    # The patch level of Python, and numpy's, may differ between machines.
    return {name: version for name, version in versions().items()
            if name not in ('python', 'numpy')}


def _hash(facts: dict) -> str:
    return hashlib.sha256(json.dumps(list(facts.items())).encode()).hexdigest()


def _describe(found: list[tuple[str, dict]]) -> str:
    first, lines = found[0][1], {}
    for rank, (other_host, facts) in enumerate(found[1:], 1):
        for part, values in facts.items():
            for line in _differences(first[part], values):
                lines.setdefault(f'{part}: {line}', []).append(
                    f'{rank} ({other_host})')
    shown = [f'  rank {", ".join(ranks)}: {line}'
             for line, ranks in list(lines.items())[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f'  and {len(lines) - _MOST} more')
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

"""Resume the optimizer of a model whose parameters had another order when it was saved.

Optimizers and schedules number what they hold by the order of the parameters. That
order changes where parts of a model move, with their keys (``former_keys``).
"""
from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer


def reorder_optimizer(checkpoint: dict, model: nn.Module, optimizer: Optimizer) -> None:
    """Put the optimizer and schedule states of a checkpoint in order, in place.

    Args:
        checkpoint: With current keys in its ``state_dict``, in the order they were
            saved in.
        model: Whose parameters they are.
        optimizer: Built for ``model``, with one group a parameter, in the order of the
            parameters, or with fewer groups that each keep this order.
    """
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    saved_idx = {name: i for i, name in enumerate(checkpoint['state_dict'])}
    groups = [[name_of[parameter] for parameter in group['params']]
              for group in optimizer.param_groups]
    saved = checkpoint['optimizer']
    sizes = [len(group['params']) for group in saved['param_groups']]
    if (sizes != [len(group) for group in groups]
            or not all(name in saved_idx for group in groups for name in group)):
        return  # Another optimizer or model: resuming reports it.
    order = list(range(len(groups)))
    if all(len(group) == 1 for group in groups):
        order.sort(key=lambda i: saved_idx[groups[i][0]])
    former, numbers = dict(zip(order, saved['param_groups'], strict=True)), {}
    for i, group in former.items():
        names = sorted(groups[i], key=saved_idx.__getitem__)
        numbers |= zip(names, group['params'], strict=True)
    saved['param_groups'] = [
        former[i] | dict(params=[numbers[name] for name in group])
        for i, group in enumerate(groups)]
    for schedule in _schedules(checkpoint):
        for key, values in schedule.items():
            if isinstance(values, list) and len(values) == len(order):
                schedule[key] = [values[order.index(i)] for i in range(len(order))]


def _schedules(checkpoint: dict) -> Sequence[dict]:
    found = checkpoint.get('param_schedulers') or []
    return found if isinstance(found, list) else []

"""CLIP files of every kind, made of a dict of tensors."""
from torch import Tensor, jit, nn


def write_script_archive(state: dict[str, Tensor], path) -> None:
    """Save ``state`` as OpenAI does: a TorchScript module tree with these names."""
    root = nn.Module()
    for key, value in state.items():
        *parents, name = key.split('.')
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = getattr(module, parent)
        if value.is_floating_point():
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)
    jit.script(root).save(str(path))

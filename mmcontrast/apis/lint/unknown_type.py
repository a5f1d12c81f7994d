"""A name that no registry holds: what to say about it."""
from mmengine import registry as roots

from .issue import ConfigIssue
from .places import Place, must_be_known
from .resolve import defining_file, kind_holding, similar


def unknown_type(name: str, path: str, place: Place, scope: str) -> ConfigIssue | None:
    """The finding about ``type=name`` at ``path``.

    Returns:
        None where a word may stand that only the code of a model knows.
    """
    near = similar(name, place.kinds[0], scope)
    key = path.rpartition('.')[2].partition('[')[0]
    if not place.only and not near and not must_be_known(key) and '.' in path:
        return None
    hint = _hint(name, near, place, scope)
    kind = getattr(roots, place.kinds[0]).name
    return ConfigIssue(
        f'{path}.type' if path else 'runner_type',
        f'{name!r} is not in the {scope}::{kind} registry'
        + (f': {hint}' if hint else '.') + ' A class of your own is found once its '
        "module stands in the config: custom_imports=dict(imports=['my_module']).")


def _hint(name: str, near: str | None, place: Place, scope: str) -> str:
    file = defining_file(name, place.kinds[0], scope)
    if file:
        module = file.removesuffix('.py').replace('/', '.')
        return (f'{file} defines it, but is not imported here; it may need a library '
                f'that is missing: python -c "import {module}" says which.')
    if near:
        return f'did you mean {near!r}?'
    holder = kind_holding(name, [scope]) if place.only else None
    return f'it is one of the {holder}, which cannot stand here.' if holder else ''

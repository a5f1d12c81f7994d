"""The arguments in a config against those of the class that it names."""
import inspect
from collections.abc import Callable, Iterator

from ...errors import closest, suggest
from .annotations import fits, spoken
from .issue import ConfigIssue, is_typo_of, shown
from .places import Place
from .signature import Signature, signature_of
from .sources import adds, reads

# Libraries whose annotations can be taken at their word.
EXACT = ('torch.', 'mmengine.', 'mmcontrast.')
LAYERS = ('torch.', 'mmcv.cnn', 'mmcv.ops')


def wrong_arguments(node: dict, target: Callable, path: str, place: Place,
                    chain: tuple) -> Iterator[ConfigIssue]:
    """Unknown, missing and mistyped arguments of one dict.

    Args:
        node: The dict.
        target: The class or function that it is for.
        path: Where it stands.
        place: What may stand there.
        chain: The classes that it is an argument of, the outermost first. They may take
            keys out of it, or add some, before they build it.
    """
    signature = signature_of(target)
    given = {key: value for key, value in node.items()
             if key not in ('type', '_scope_') and key not in place.taken}
    meant = set()
    for key, value in given.items():
        if key in signature.hints:
            yield from wrong_type(signature, key, value, target, path)
            continue
        near = _misspelled(str(key), signature, set(given), target, chain)
        if near is not None:
            meant.add(near)
            yield _unknown(path, key, near, target, signature)
    missing = signature.required - set(given) - place.added - meant
    # What stands in there is built by parts of the model, which add to it.
    passed_on = '.train_cfg.' in path or '.test_cfg.' in path
    known = place.complete and not passed_on and _built_alone(target, chain)
    for key in sorted(missing) if known else ():
        if not adds(chain, key):
            yield ConfigIssue(
                path, f'{_named(target)} needs the argument {key!r}; it is not given.'
            )


def _misspelled(key: str, signature: Signature, given: set[str], target: Callable,
              chain: tuple) -> str | None:
    """None if ``key`` may stand there; else the closest argument, '' without one."""
    if signature.open:
        near = is_typo_of(key, set(signature.hints) - given)
        return near if near and not reads((*chain, target), key) else None
    return None if reads(chain, key) else next(iter(closest(key, signature.hints)), '')


def wrong_type(signature: Signature, key: str, value: object, target: Callable,
               path: str) -> Iterator[ConfigIssue]:
    """A finding if ``value`` cannot be what the annotation of ``key`` asks."""
    hint = signature.hints[key]
    exact = (target.__module__ or '').startswith(EXACT)
    if fits(value, hint, exact) or _like_default(value, signature.defaults.get(key)):
        return
    yield ConfigIssue(f'{path}.{key}', f'found {value!r} ({type(value).__name__}), '
                  f'{_named(target)} takes {spoken(hint)}.')


def _built_alone(target: Callable, chain: tuple) -> bool:
    """Whether a config must give all arguments.

    Functions are called with more later; layers get their sizes from the module that
    they are part of.
    """
    layer = bool(chain) and (target.__module__ or '').startswith(LAYERS)
    return inspect.isclass(target) and not layer


def _like_default(value: object, default: object) -> bool:
    """An annotation that its own default contradicts says nothing."""
    return default is not None and isinstance(value, type(default))


def _unknown(path: str, key: str, near: str | None, target: Callable,
             signature: Signature) -> ConfigIssue:
    hint = suggest([near] if near else []) or '.'
    return ConfigIssue(
        f'{path}.{key}', f'{_named(target)} takes no argument {key!r}{hint} It takes '
        f'{shown(set(signature.hints)) or "none"}.')


def _named(target: Callable) -> str:
    name = getattr(target, '__name__', str(target))
    module = getattr(target, '__module__', '')
    return f'{name} ({module})'

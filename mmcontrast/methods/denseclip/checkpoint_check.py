"""Do weights fit the class names of a model? Said before anything is loaded."""
from torch import Tensor, nn

# Parts of a model whose sizes the class names do not touch.
WITHOUT_CLASSES = ('backbone.', 'text_encoder.', 'contexts', 'context_decoder.',
                   'gamma', 'attention_pool.')


def check_weights(model: nn.Module, state: dict[str, Tensor], prefix: str = '') -> None:
    """Compare shapes, and say in terms of names what does not fit.

    Args:
        model: With ``class_names``, ``contexts`` and ``text_encoder``.
        state: Weights that are about to be loaded.
        prefix: Of the model's keys in ``state``.

    Raises:
        ValueError: If a tensor has another shape: another number of classes, longer or
            shorter names, or another model.
    """
    wrong = {key: (tuple(state[prefix + key].shape), tuple(own.shape))
             for key, own in model.state_dict().items()
             if prefix + key in state and state[prefix + key].shape != own.shape}
    if not wrong:
        return
    shapes = '; '.join(f'{key} {theirs} in the file, {ours} here'
                       for key, (theirs, ours) in list(wrong.items())[:3])
    positions = wrong.pop('text_encoder.positional_embedding', None)
    if positions and not wrong and positions[0][1] == positions[1][1]:
        raise ValueError(_about_lengths(model, positions[0][0]))
    more = _classes_more(wrong)
    if more is None:
        raise ValueError(f'The weights are those of another model: {shapes}.')
    names = model.trained_names.names
    raise ValueError(
        f'The weights were trained on {len(names) + more} classes, this model is built '
        f'for {len(names)}: {_shortened(names)} ({shapes}). Build it with the class '
        'names of the training; it tells other classes apart after set_classes (or '
        '--classes of tools/test.py).')


def _about_lengths(model: nn.Module, theirs: int) -> str:
    contexts, ours = model.contexts.shape[1], model.text_encoder.context_length
    return (
        f'The weights have {theirs} text positions, this model {ours}: {contexts} '
        f'contexts and {ours - contexts} for its longest class name, '
        f'{max(model.trained_names.names, key=len)!r}. Build it with '
        f'text_encoder.context_length={theirs} and class names of at most '
        f'{theirs - contexts} tokens, start and end included.')


def _classes_more(wrong: dict[str, tuple[tuple, tuple]]) -> int | None:
    """How many classes more the file has, None if that is not what differs."""
    found = set()
    for key, (theirs, ours) in wrong.items():
        gaps = [a - b for a, b in zip(theirs, ours, strict=False) if a != b]
        if key.startswith(WITHOUT_CLASSES) or len(theirs) != len(ours) or len(
                gaps) != 1:
            return None
        found.update(gaps)
    # Heads of detectors have several channels a class.
    least = min(found, key=abs) if found else 0
    return least if least and all(gap % least == 0 for gap in found) else None


def _shortened(names: list[str], most: int = 6) -> str:
    return ', '.join(names[:most]) + (', ...' if len(names) > most else '')

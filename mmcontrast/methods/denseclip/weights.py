"""Check and rename the weights of a model that contains class texts."""
from torch import Tensor, nn

from ...io.former_keys import rename_former_keys
from ...models.text.class_texts import ClassTexts

# Keys of released checkpoints, and of ours before the class texts were one module.
FORMER_KEYS = dict(
    contexts='prompting.class_texts.contexts',
    text_encoder='prompting.class_texts.text_encoder',
    gamma='prompting.gamma',
    context_decoder='prompting.context_decoder',
    attention_pool='prompting.attention_pool')
# Parts of a model whose sizes do not depend on the class texts.
WITHOUT_CLASSES = ('backbone.', 'prompting.')
POSITIONS = 'prompting.class_texts.text_encoder.positional_embedding'


def prepare_state_dict(model: nn.Module, state_dict: dict[str, Tensor],
                       prefix: str = '') -> None:
    """Rename former keys in place, and refuse weights of another vocabulary.

    mmengine loads with ``strict=False`` and would only log tensors that do not fit.

    Args:
        model: With ``class_texts`` and ``former_keys``.
        state_dict: Weights that are about to be loaded.
        prefix: Of the model's keys in ``state_dict``.

    Raises:
        ValueError: If a tensor has another shape: another number of classes, longer or
            shorter names, or another model.
    """
    rename_former_keys(state_dict, model, prefix)
    wrong = {key: (tuple(state_dict[prefix + key].shape), tuple(own.shape))
             for key, own in model.state_dict().items() if prefix + key in state_dict
             and state_dict[prefix + key].shape != own.shape}
    if not wrong:
        return
    shapes = '; '.join(f'{key} {theirs} in the file, {ours} here'
                       for key, (theirs, ours) in list(wrong.items())[:3])
    positions = wrong.pop(POSITIONS, None)
    if positions and not wrong and positions[0][1] == positions[1][1]:
        raise ValueError(_length_message(model.class_texts, positions[0][0]))
    surplus = _surplus_classes(wrong)
    if surplus is None:
        raise ValueError(f'The weights are those of another model: {shapes}.')
    names = model.class_texts.trained_vocabulary.names
    raise ValueError(
        f'The weights were trained on {len(names) + surplus} classes, this model is '
        f'built for {len(names)}: {_shortened(names)} ({shapes}). Build it with the '
        'class names of the training; it tells other classes apart after set_classes '
        '(or --classes of tools/test.py).')


def _length_message(texts: ClassTexts, theirs: int) -> str:
    contexts, ours = texts.contexts.shape[1], texts.text_encoder.context_length
    return (
        f'The weights have {theirs} text positions, this model {ours}: {contexts} '
        f'contexts and {ours - contexts} for its longest class name, '
        f'{max(texts.trained_vocabulary.names, key=len)!r}. Build it with '
        f'text_encoder.context_length={theirs} and class names of at most '
        f'{theirs - contexts} tokens, start and end included.')


def _surplus_classes(wrong: dict[str, tuple[tuple, tuple]]) -> int | None:
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

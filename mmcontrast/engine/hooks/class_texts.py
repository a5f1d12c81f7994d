"""Save the class texts of a model in its checkpoints, and compare them on loading."""
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import Tensor, nn

from ...datasets.open_vocabulary import plain_name
from ...errors import UserValueError
from ...models.text.class_texts import ClassTexts
from ...models.text.stored_texts import StoredClassTexts
from ...structures.protocols import OpenVocabulary

KEY = 'class_texts'


def note_class_texts(model: nn.Module, checkpoint: dict) -> None:
    """Write the texts of a model that has some into the ``meta`` of a checkpoint."""
    texts = getattr(model, 'class_texts', None)
    if isinstance(texts, ClassTexts | StoredClassTexts):
        checkpoint.setdefault('meta', {})[KEY] = texts.notes


def check_class_texts(model: nn.Module, checkpoint: dict, path: str) -> None:
    """Compare the texts of a model with those that a checkpoint was trained with.

    They may differ from the class names of the data set ('traffic sign' for
    'SignSymbol'). Checkpoints without texts (converted ones) are not checked, and of a
    model of an open vocabulary a difference is only logged: its weights do not depend
    on the classes.

    Raises:
        ValueError: If they differ; names the first label that does.
    """
    texts = getattr(model, 'class_texts', None)
    theirs = (checkpoint.get('meta') or {}).get(KEY)
    if not isinstance(texts, ClassTexts | StoredClassTexts) or theirs is None:
        return
    ours = texts.notes
    if theirs == ours:
        return
    if isinstance(model, OpenVocabulary):
        print_log(f'{path} was trained with other classes ({len(theirs)}) than '
                  f'model.class_names has ({len(ours)}).', 'current')
        return
    label = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False))
                  if a != b), min(len(theirs), len(ours)))
    raise UserValueError(
        f'{path} was trained with {len(theirs)} class texts, the model has '
        f'{len(ours)}; label {label} is {_entry(theirs, label)} in the file and '
        f'{_entry(ours, label)} in model.class_names. Write the texts of the training '
        'there, in their order; for other classes use set_classes (or --classes of '
        'tools/test.py).')


def check_order(model: nn.Module, classes: Sequence[str], split: str) -> None:
    """Compare the order of a model's texts with that of a data set's classes.

    Raises:
        ValueError: If both name the same classes in another order, or, for a model of
            an open vocabulary, if their numbers differ. Other names are allowed.
    """
    names = getattr(model, 'class_names', None)
    if not isinstance(names, list):
        return
    if isinstance(model, OpenVocabulary):
        key, names = _vocabulary(model, split)
        _check_count(key, names, classes, split)
    ours, theirs = ([plain_name(name).lower() for name in part]
                    for part in (names, classes))
    if ours != theirs and sorted(ours) == sorted(theirs):
        label = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
                     if a != b)
        raise UserValueError(
            f'model.class_names and the classes of {split}_dataloader are the same in '
            f'another order: label {label} is {names[label]!r} in the model and '
            f'{classes[label]!r} in the data set. Use the order of the data set.')


def check_label_range(model: nn.Module, labels: Tensor, image: str) -> None:
    """Check that training labels are classes of a model of an open vocabulary.

    Raises:
        ValueError: If a label is none; names the image.
    """
    count = len(model.trained_class_names)
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < count:
        raise UserValueError(
            f'{image} holds the labels {labels.unique().tolist()}, but '
            f'model.class_names has {count} classes, labels 0 to {count - 1}. Give the '
            'training data and the model the same class list.')


def _vocabulary(model: nn.Module, split: str) -> tuple[str, list[str]]:
    """Key of the config and names that the labels of a split belong to."""
    if split == 'train':
        return 'model.class_names', model.trained_class_names
    return 'model.test_class_names', model.class_names


def _check_count(key: str, names: Sequence[str], classes: Sequence[str], split: str
                 ) -> None:
    if len(names) != len(classes):
        other = sorted(set(classes) ^ set(names))
        raise UserValueError(
            f'{key} names {len(names)} classes, but {split}_dataloader has '
            f'{len(classes)}; only one of them has {", ".join(other[:8])}. Write the '
            'same list in both, in the same order.')


def _entry(notes: list, label: int) -> str:
    return '; '.join(notes[label]).join("''") if label < len(notes) else 'nothing'

"""Name the classes that no label uses."""
from collections.abc import Collection, Sequence

_LISTED = 12


def absent_classes(classes: Sequence[str], seen: Collection[int]) -> list[int]:
    """Indices of the classes that are not among the labels ``seen``."""
    return [index for index in range(len(classes)) if index not in seen]


def absence_note(classes: Sequence[str], seen: Collection[int], where: str,
                 ignored: int | None = None) -> str:
    """A sentence on the classes that never occur; '' if all do.

    Args:
        classes: Names.
        seen: Labels that occur.
        where: The labels, such as ``mask of data/ann_dir/train``.
        ignored: A label that occurs and is ignored. It may be meant for the class
            that is missing: masks of 0 and 255 for two classes.
    """
    absent = absent_classes(classes, seen)
    if not absent:
        return ''
    named = ', '.join(f'{index} ({classes[index]})' for index in absent[:_LISTED])
    if len(absent) > _LISTED:
        named += f', ... ({len(absent)})'
    text = (f'class {named} occurs' if len(absent) == 1 else f'classes {named} occur')
    text += f' in no {where}'
    if ignored is not None and only_one_class(classes, seen):
        text += f'; is {ignored} your foreground? It is ignored'
    elif ignored is not None and len(absent) == 1 and len(classes) < 5:
        text += f'; is {ignored}, which is ignored, meant for it?'
    return text


def result_note(classes: Sequence[str], absent: Collection[int], where: str) -> str:
    """A sentence for a result on the classes ``absent``; '' without any.

    Args:
        where: The labels, such as ``mask of val``.
    """
    seen = set(range(len(classes))) - set(absent)
    note = absence_note(classes, seen, where)
    if note and only_one_class(classes, seen):
        note += (f'; all labels are {classes[min(seen)]}, so that the scores say '
                 'nothing. Is an ignored label, such as 255, your foreground?')
    return note and f'Note: {note.rstrip("?.")}{"?" if note.endswith("?") else "."}'


def only_one_class(classes: Sequence[str], seen: Collection[int]) -> bool:
    """Whether all labels are of one of several classes: nothing can be learned."""
    return len(classes) > 1 and len(classes) - len(absent_classes(classes, seen)) == 1

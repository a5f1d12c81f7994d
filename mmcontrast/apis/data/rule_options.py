"""Define command line options for the rules that an object to cut out must meet."""
from .cutting import Rules

_OPTIONS = (
    ('min_scale', float, 'least max(w / W, h / H) of object and image'),
    ('max_scale', float, 'largest of it'),
    ('min_side', int, 'least width and height of an object in pixels'),
    ('max_aspect', float, 'largest ratio of its sides'),
    ('max_holes', float, 'largest share of its outline that is holes'),
    ('min_whole', float,
     'least share of its pixels in its largest connected component'))


def add_rules(group, defaults: Rules) -> None:
    """Add an option for every field of :class:`~.cutting.Rules`.

    Args:
        group: A parser, or a group of its arguments.
        defaults: Values of the options.
    """
    for name, kind, what in _OPTIONS:
        group.add_argument(
            f'--{name.replace("_", "-")}', type=kind, default=getattr(defaults, name),
            metavar='X', help=what)


def take_rules(arguments: dict) -> Rules:
    """Take the options of :func:`add_rules` out of parsed arguments."""
    return Rules(**{name: arguments.pop(name) for name, _, _ in _OPTIONS})

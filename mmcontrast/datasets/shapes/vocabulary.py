"""Define the classes, colors, textures, held-out pairs and splits of the toy world."""
SHAPES = ('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon')
COLORS = {
    'red': (205, 45, 45), 'orange': (235, 130, 30), 'yellow': (235, 205, 50),
    'green': (60, 160, 65), 'cyan': (60, 190, 200), 'blue': (50, 85, 200),
    'purple': (120, 60, 170), 'pink': (240, 140, 185)}
TEXTURES = ('plain', 'striped', 'dotted', 'checked')
ATTRIBUTES = {'texture': TEXTURES, 'color': tuple(COLORS), 'shape': SHAPES}
SKY_TEXTURES = ('plain', 'cloudy', 'striped')
STUFF = ('sky', 'ground')

# Things first, as mmdet's panoptic classes; a shape's label is its index in SHAPES.
CLASSES = SHAPES + STUFF
PALETTE = [
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
    (145, 30, 180), (240, 50, 230), (128, 128, 0), (70, 200, 240), (150, 120, 90)]
SKY_LABEL, GROUND_LABEL = len(SHAPES), len(SHAPES) + 1

# 3 and 8 share no factor, so every shape and every color is held out exactly once:
# each word still occurs in seven other pairs.
HELD_OUT_COMBINATIONS = frozenset(
    (tuple(COLORS)[(3 * i + 1) % len(COLORS)], shape)
    for i, shape in enumerate(SHAPES))
_ALL = tuple((color, shape) for color in COLORS for shape in SHAPES)
COMBINATIONS = {
    'all': _ALL,
    'seen': tuple(pair for pair in _ALL if pair not in HELD_OUT_COMBINATIONS),
    'held_out': tuple(pair for pair in _ALL if pair in HELD_OUT_COMBINATIONS)}

SPLITS = ('train', 'val', 'test')


def allowed_combinations(name: str) -> tuple[tuple[str, str], ...]:
    """The (color, shape) pairs that objects may have.

    Args:
        name: 'all', 'seen' (without :data:`HELD_OUT_COMBINATIONS`) or 'held_out'.

    Raises:
        ValueError: For any other name.
    """
    if name not in COMBINATIONS:
        raise ValueError(
            f'combinations must be one of {sorted(COMBINATIONS)}, got {name!r}.')
    return COMBINATIONS[name]


def scene_seed(split: str, index: int) -> int:
    """Seed of the scene with this index; splits never share one.

    Args:
        split: 'train', 'val' or 'test'.
        index: Position in the split, from 0, without upper bound.

    Raises:
        ValueError: For an unknown split or a negative index.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {list(SPLITS)}, got {split!r}.')
    if index < 0:
        raise ValueError(f'index of a scene must be 0 or more, got {index}.')
    return len(SPLITS) * index + SPLITS.index(split)

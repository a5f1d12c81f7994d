"""Room for the score map in what is built after the backbone."""


def widen(cfg: dict, index: int, num_classes: int, name: str = 'neck') -> dict:
    """Config of a neck or head with K more channels in one of its inputs.

    Args:
        cfg: Its ``in_channels`` are those of the backbone's maps; with ``in_index``
            those that it picks.
        index: The map that the score map is concatenated to.
        num_classes: K.
        name: Key of ``cfg`` in the model, for messages.

    Returns:
        A copy; with the channels as they were if ``in_index`` leaves the map out.

    Raises:
        ValueError: If there is no such map.
    """
    cfg = cfg.copy()
    channels = cfg.get('in_channels')
    single = isinstance(channels, int)
    listed = [channels] if single else list(channels or ())
    picked = cfg.get('in_index', -1 if single else None)
    # Which map each of the listed channels belongs to.
    maps = ([picked] if isinstance(picked, int) else
            list(picked) if picked is not None else list(range(len(listed))))
    if len(maps) != len(listed) or (picked is None and index not in maps):
        raise ValueError(
            f'concat_index={index} names the map that the score map is concatenated '
            f'to, but {name}.in_channels is {channels}; give it the channels of the '
            "backbone's maps, e.g. [256, 512, 1024, 2048].")
    widened = [count + num_classes * (place == index)
               for count, place in zip(listed, maps, strict=True)]
    cfg['in_channels'] = widened[0] if single else widened
    return cfg

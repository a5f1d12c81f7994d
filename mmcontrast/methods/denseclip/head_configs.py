"""Fit the configs of necks and heads to the class texts."""

# Parts of a RoI head that count classes, whether their config says so or not.
CLASS_HEADS = ('bbox_head', 'mask_head')

Heads = dict | list | None


def set_num_classes(head: Heads, num_classes: int) -> Heads:
    """A copy of a head's config with its class counts set.

    Args:
        head: Config of a head, or of a RoI head with heads inside, each a config or a
            list of them (cascades); a list of such, or None.
    """
    if head is None or isinstance(head, list):
        return head and [set_num_classes(part, num_classes) for part in head]
    # A copy of its own kind: mmdet reads configs by attribute.
    head = head.copy()
    if not any(isinstance(head.get(name), dict | list) for name in CLASS_HEADS):
        head['num_classes'] = num_classes
        return head
    for name, part in list(head.items()):
        parts = part if isinstance(part, list) else [part]
        # mask_iou_head and point_head count classes, too; stuff has other ones.
        if name != 'semantic_head' and all(
                isinstance(x, dict) and (name in CLASS_HEADS or 'num_classes' in x)
                for x in parts):
            head[name] = set_num_classes(part, num_classes)
    return head


def add_score_channels(cfg: Heads, index: int, num_classes: int, name: str = 'neck'
                       ) -> Heads:
    """A copy of a neck's or head's config that also takes the score map.

    Args:
        cfg: Its ``in_channels`` are those of the backbone's maps; with ``in_index``
            those that it picks. A list of configs, or None, too.
        index: The map that the score map is concatenated to.
        num_classes: K, the channels of the score map.
        name: Key of ``cfg`` in the model, for messages.

    Returns:
        With K more channels in one of its inputs; as it was if ``in_index`` leaves
        that map out.

    Raises:
        ValueError: If there is no such map.
    """
    if cfg is None or isinstance(cfg, list):
        return cfg and [
            add_score_channels(part, index, num_classes, name) for part in cfg]
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
    extended = [count + num_classes * (map_index == index)
                for count, map_index in zip(listed, maps, strict=True)]
    cfg['in_channels'] = extended[0] if single else extended
    return cfg

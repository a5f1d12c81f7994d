"""The functions that the config of a loader names, free of what mmengine adds."""

_FUNCTIONS = ('collate_fn', 'worker_init_fn')


def drop_function_scopes(loader: dict) -> None:
    """Remove ``_scope_`` from the functions of a loader's config.

    mmengine adds the key to whatever a config inherits by scope, as with
    ``_base_ = 'mmcontrast::...'``, and then hands it to these two as an argument, which
    no function takes. Their names are looked up without it.

    Args:
        loader: Gets new settings for the two; the old ones stay as they are.
    """
    for key in _FUNCTIONS:
        if isinstance(loader.get(key), dict):
            loader[key] = {name: value for name, value in loader[key].items()
                           if name != '_scope_'}

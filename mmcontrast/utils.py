"""Let mmengine's hub and inferencers find our modules."""
from mmengine.registry import DefaultScope

from . import registry


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register everything of mmcontrast now rather than on first use.

    Args:
        init_default_scope: Also make ``mmcontrast`` the default scope, so that types
            without a scope are looked up here first.
    """
    for value in vars(registry).values():
        if isinstance(value, registry.Registry):
            value.import_from_location()
    if init_default_scope and not DefaultScope.check_instance_created('mmcontrast'):
        DefaultScope.get_instance('mmcontrast', scope_name='mmcontrast')

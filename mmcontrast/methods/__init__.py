"""Import the methods, one package each, so that the registries hold their classes."""
import pkgutil
from importlib import import_module

for _method in pkgutil.iter_modules(__path__):
    import_module(f'{__name__}.{_method.name}')

"""Extend OpenMMLab by dense contrastive and vision-language methods."""
from ._compat import check_versions, repair_config_scopes
from .version import __version__

check_versions()
repair_config_scopes()

__all__ = ['__version__']

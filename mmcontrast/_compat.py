"""Check the versions of the OpenMMLab libraries and help them find their configs.

OpenMMLab exists twice under the same import names: the original distributions
(``mmengine``, ``mmcv``, ``mmdet``, ...) and the maintained ``onedl-*`` ones. Neither
declares which versions of the others it works with, so we look before we import.
The Makefile reads this file before anything is installed: standard library only at
the top, mmengine inside the one function that repairs it.
"""
import importlib.util
import os
import re
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Neighbor:
    """A library that we stand on.

    Attributes:
        module: Import name.
        dists: Distribution names that provide it, the maintained one first.
        at_least, below: The versions that fit, upper end exclusive.
        pin: Version that our requirements install and our tests ran with.
        needed: Whether ``import mmcontrast`` asks for it; the others are checked
            only where they are installed.
    """

    module: str
    dists: tuple
    at_least: str
    below: str
    pin: str
    needed: bool = False

    @property
    def fits(self) -> str:
        return f'>={self.at_least},<{self.below}'


NEIGHBORS = (
    Neighbor('torch', ('torch',), '2.1', '3', '2.11.0', needed=True),
    Neighbor('torchvision', ('torchvision',), '0.16', '1', '0.26.0', needed=True),
    Neighbor('mmengine', ('onedl-mmengine', 'mmengine'), '0.10', '1', '0.10.12',
             needed=True),
    Neighbor('mmcv', ('onedl-mmcv', 'mmcv', 'mmcv-lite'), '2.0', '2.4', '2.3.6',
             needed=True),
    Neighbor('mmdet', ('onedl-mmdetection', 'mmdet'), '3.0', '4', '3.5.1'),
    Neighbor('mmseg', ('onedl-mmsegmentation', 'mmsegmentation'), '1.0', '2',
             '1.4.2'),
    Neighbor('mmpretrain', ('onedl-mmpretrain', 'mmpretrain'), '1.0', '2', '1.3.6'),
    Neighbor('open_clip', ('open_clip_torch',), '2.20', '4', '3.3.0'),
)


def check_versions() -> None:
    """Stop with one message that names every neighbor that does not fit.

    Raises:
        ImportError: What was found, what fits, and the command to run, a line each.
    """
    problems = [problem_of(n, n.needed) for n in NEIGHBORS]
    problems = [problem for problem in problems if problem]
    if problems:
        raise ImportError('\n  '.join([
            'mmcontrast cannot work with what is installed here:', *problems,
            "In a checkout of mmcontrast, 'make env' sets up an environment in which "
            'everything fits.']))


def problem_of(neighbor: Neighbor, needed: bool) -> str:
    """One line on what is wrong with a neighbor, '' if it is fine."""
    dist, version = find(neighbor)
    if dist is None and not needed:
        return ''
    if dist is None:
        found, dist = f'{neighbor.module} is not installed', neighbor.dists[0]
    elif version is None or fits(version, neighbor):
        return ''
    else:
        found = f'{neighbor.module} {version} found ({dist})'
    return f'{found}; {neighbor.fits} fits; run: {command(neighbor, dist)}'


def find(neighbor: Neighbor) -> tuple:
    """(distribution, version) as installed, without importing anything.

    A source folder on the path has no version to read: (module, None). Neither
    there: (None, None).
    """
    for dist in neighbor.dists:
        try:
            return dist, metadata.version(dist)
        except metadata.PackageNotFoundError:
            continue
    on_path = importlib.util.find_spec(neighbor.module) is not None
    return (neighbor.module if on_path else None), None


def fits(version: str, neighbor: Neighbor) -> bool:
    return (_numbers(neighbor.at_least) <= _numbers(version)
            < _numbers(neighbor.below))


def command(neighbor: Neighbor, dist: str) -> str:
    """The pip command that installs a fitting version of this distribution."""
    if dist == 'onedl-mmcv':
        # Its operators compile against the torch that is there, hence no isolation.
        return ("pip install 'setuptools>=77,<81' wheel ninja psutil && CFLAGS=-g0 "
                f'pip install --no-build-isolation onedl-mmcv=={neighbor.pin}')
    if dist == neighbor.dists[0]:
        return f'pip install {dist}=={neighbor.pin}'
    return f"pip install '{dist}{neighbor.fits}'"


def install_command(module: str) -> str:
    """The pip command that installs a neighbor of the line that is here.

    The extras of mmcontrast need an index that holds mmcontrast; this works anywhere.
    """
    neighbor = next(n for n in NEIGHBORS if n.module == module)
    return command(neighbor, _dist_of_this_line(neighbor))


def _numbers(version: str) -> tuple:
    """(2, 11, 0) of '2.11.0+cu128'."""
    return tuple(map(int, re.match(r'\d+(?:\.\d+)*', version)[0].split('.')))


def repair_config_scopes() -> None:
    """Let ``mmcontrast::``, ``mmseg::``, ``mmdet::``, ``mmpretrain::`` resolve quickly.

    mmengine turns a config scope into a distribution name by a table that knows the
    original names only, so ``mmseg::`` fails beside the maintained packages. Both
    lines of mmengine also accept an import name there, which holds for either
    distribution and for a source folder on the path.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    # A module name that is no distribution name: asked for 'mmcontrast' itself, the
    # original mmengine looks beside the metadata and misses editable installs.
    MODULE2PACKAGE['mmcontrast'] = 'mmcontrast.version'
    for neighbor in NEIGHBORS:
        if neighbor.module in ('mmdet', 'mmseg', 'mmpretrain'):
            installed = importlib.util.find_spec(neighbor.module) is not None
            # Not installed: the name that mmengine tells the user to install.
            MODULE2PACKAGE[neighbor.module] = (
                neighbor.module if installed else _dist_of_this_line(neighbor))
    _find_base_configs_by_path()


def _find_base_configs_by_path() -> None:
    """Look for ``mmdet::...`` beside the package before searching its metafiles.

    mmengine parses all metafiles of a package, 0.2 s or more, for every base config,
    and never finds one there: it searches for a name without ``.py`` in a list of
    names with it, and then takes the file below ``.mim/configs``.
    """
    from mmengine.config import config

    search = getattr(config, '_get_external_cfg_path', None)
    if search is None or getattr(search, 'looks_first', False):
        return

    def find(package_path: str, cfg_file: str) -> str:
        path = os.path.join(package_path, '.mim', 'configs', cfg_file)
        return path if os.path.isfile(path) else search(package_path, cfg_file)

    find.looks_first = True
    config._get_external_cfg_path = find


def _dist_of_this_line(neighbor: Neighbor) -> str:
    mmengine = next(n for n in NEIGHBORS if n.module == 'mmengine')
    maintained = find(mmengine)[0] == mmengine.dists[0]
    return neighbor.dists[0 if maintained or len(neighbor.dists) == 1 else 1]

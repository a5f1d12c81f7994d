"""Package mmcontrast with its configs, tools and projects, in ``mmcontrast/.mim``.

That is where mmengine looks for ``mmcontrast::pixpro/...``, and where mim and the
command ``mmcontrast`` look for tools. In a checkout (and an editable install) the
folder holds links; a wheel gets files.
"""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ('configs', 'tools', 'projects', 'model-index.yml')


class BuildWithConfigs(build_py):
    """Copy configs, tools and projects into the built package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / 'mmcontrast' / '.mim'
        # build/ outlives a build: without this a removed config would come back.
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in SHIPPED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, mim / name, ignore=shutil.ignore_patterns(
                    '__pycache__', '*.pyc', 'work_dirs'))
            else:
                shutil.copy(source, mim / name)


def requirements(name: str) -> list:
    """Lines of requirements/<name>.txt without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    scope = {}
    exec((ROOT / 'mmcontrast' / 'version.py').read_text(), scope)
    return scope['__version__']


# Every extra but 'dev' requires the maintained packages; do not use them with the
# original mm* packages.
EXTRAS = {name: requirements(name)
          for name in ('det', 'seg', 'pretrain', 'text', 'cpu', 'jpeg', 'shards',
                       'flax', 'lvis', 'placement', 'grounding', 'dev')}
EXTRAS['mm'] = requirements('core') + requirements('mmcv')
EXTRAS['all'] = sorted({line for lines in EXTRAS.values() for line in lines})
# Not in 'all': gigabytes that only an option of one tool uses.
EXTRAS['diffusion'] = requirements('diffusion')

setup(
    name='mmcontrast',
    version=version(),
    description='Dense contrastive and vision-language methods for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['mmcontrast', 'mmcontrast.*']),
    package_data={'mmcontrast.datasets.shapes': ['words.spm']},
    py_modules=['mmcontrast_command'],
    entry_points=dict(console_scripts=['mmcontrast=mmcontrast_command:main']),
    cmdclass={'build_py': BuildWithConfigs},
    install_requires=requirements('runtime'),
    extras_require=EXTRAS,
    zip_safe=False)

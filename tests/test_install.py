"""What is installed, what that touches, and what is said when versions do not fit."""
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from mmcontrast._compat import NEIGHBORS, Neighbor, fits
from mmcontrast.version import __version__

ROOT = Path(__file__).parent.parent
SOURCES = ('mmcontrast', 'mmcontrast_command.py', 'configs', 'tools', 'projects',
           'requirements', 'setup.py', 'pyproject.toml', 'MANIFEST.in',
           'model-index.yml', 'README.md', 'LICENSE')
SITE = Path(sysconfig.get_path('purelib'))


def python(*arguments: str, path: tuple = (), cwd: Path = ROOT, status: int = 0) -> str:
    """What a fresh interpreter prints; ``path`` goes before everything installed."""
    settings = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, path)))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=settings, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout[-3000:]
    return done.stdout


# The wheel, built from the source archive which so is tested as well.

@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp('source')
    unwanted = shutil.ignore_patterns('__pycache__', '*.egg-info', 'work_dirs')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('wheel')
    python('setup.py', '-q', 'sdist', '-d', out, cwd=source)
    archive, = out.glob('*.tar.gz')
    shutil.unpack_archive(archive, out / 'unpacked')
    unpacked, = (out / 'unpacked').iterdir()
    python('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
           '--no-index', '-w', out, unpacked)
    built, = out.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory) -> Path:
    """The wheel, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp('site')
    python('-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', folder,
           wheel)
    return folder


def test_the_wheel_carries_configs_tools_and_projects_as_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [path for folder in ('configs', 'tools', 'projects')
               for path in (ROOT / folder).rglob('*.*') if path.is_file()
               and not {'work_dirs', '__pycache__'} & set(path.parts)]
    missing = {f'mmcontrast/.mim/{path.relative_to(ROOT)}' for path in shipped} - names
    assert not missing
    # Written out, so that a pattern which hides files from both sides is noticed.
    assert {'mmcontrast_command.py', 'mmcontrast/datasets/shapes/words.spm',
            'mmcontrast/.mim/model-index.yml',
            'mmcontrast/.mim/tools/train.py', 'mmcontrast/.mim/tools/dist_train.sh',
            'mmcontrast/.mim/tools/data/make_shapes.py',
            'mmcontrast/.mim/tools/data/make_shards.py',
            'mmcontrast/.mim/tools/convert/export_backbone.py',
            'mmcontrast/.mim/tools/analysis/evaluate_backbone.py',
            'mmcontrast/.mim/tools/benchmark/suites/views.py',
            'mmcontrast/.mim/configs/_base_/runtime.py',
            'mmcontrast/.mim/projects/downstream/README.md'} <= names
    tops = {name.partition('/')[0] for name in names}
    assert tops == {'mmcontrast', 'mmcontrast_command.py',
                    f'mmcontrast-{__version__}.dist-info'}


def test_an_installed_wheel_resolves_our_configs(site, tmp_path):
    assert inherited_by(tmp_path, site).startswith(str(site))


RUN_COMMAND = """
import contextlib, io, sys, time
started = time.monotonic()
from mmcontrast_command import find_tools, main

def said(command, fails=False):
    # What a command prints; it ends with status 0, or with a sentence.
    out, status = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            status = main(command.split() if isinstance(command, str) else command)
        except SystemExit as end:
            status = end.code
    assert bool(status) == fails, (command, status, out.getvalue())
    return str(status) if fails else out.getvalue()
"""


def test_the_installed_command_lists_its_tools_without_loading_torch(site, tmp_path):
    command = tmp_path / 'bin' / 'mmcontrast'
    command.parent.mkdir()
    # An installer other than --target puts it beside the interpreter.
    shutil.copy(site / 'bin' / 'mmcontrast', command)
    said = python(command, '--version', path=(site,), cwd=tmp_path)
    assert said.strip() == __version__
    python('-c', RUN_COMMAND + """
listed = said('--help')
assert time.monotonic() - started < 5, 'a second, and room for a busy machine'
assert not {'torch', 'mmengine', 'mmcontrast'} & set(sys.modules)
assert len(find_tools()) >= 22
for name in find_tools():
    assert f'  {name} ' in listed
for name in ('train', 'data make-shapes', 'convert official', 'benchmark run'):
    assert f'  {name} ' in listed
assert 'setup' not in listed and 'check' not in listed.replace('checkpoint', '')
assert 'make-shards' in said('data') and 'train' not in said('data --help')
for wrong, meant in (('trian', 'train'), ('make_shapes', 'data make-shapes'),
                     ('convert offical', 'convert official')):
    assert f'did you mean {meant!r}?' in said(wrong, fails=True)
assert 'mmcontrast --help lists all' in said('zzz', fails=True)
""", path=(site,), cwd=tmp_path)


@pytest.mark.slow
def test_every_tool_of_the_installed_command_runs_outside_a_checkout(site, tmp_path):
    pytest.importorskip('mmseg')
    pytest.importorskip('open_clip')
    python('-c', RUN_COMMAND + """
CONFIG = ('mmcontrast::denseclip/'
          'denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256_debug.py')
OPTIONS = ('--cfg-options train_dataloader.batch_size=2 train_cfg.max_iters=2 '
           'train_cfg.val_interval=2 default_hooks.checkpoint.interval=2').split()
for split in ('train', 'val', 'test'):
    OPTIONS += [f'{split}_dataloader.num_workers=0',
                f'{split}_dataloader.persistent_workers=False']

for name in find_tools():
    help = said(f'{name} --help')
    assert help.startswith(f'usage: mmcontrast {name} '), help
    assert 'python tools/' not in help, help
    # mim passes the flags of OpenMMLab 1.x to scripts whose help names this one.
    assert '--gpus' not in help
said('data make_shapes data/shapes --layout mmseg --train 4 --val 1 --test 1')
assert '0 failed' in said(['doctor', CONFIG, '--steps', '1', *OPTIONS])
said(['train', CONFIG, '--work-dir', 'run', *OPTIONS])
assert 'mIoU' in said(['test', CONFIG, 'run/iter_2.pth', '--work-dir', 'run', *OPTIONS])
said(['infer', CONFIG, 'run/iter_2.pth', 'data/shapes/img_dir/test', '--workers', '0',
      '--out', 'found'])
assert said('train missing.py', fails=True).startswith('mmcontrast train: ')
""", path=(site,), cwd=tmp_path)
    assert list((tmp_path / 'found').rglob('*.png'))
    assert not [path for path in site.rglob('*') if path.name == 'work_dirs']


def test_an_editable_install_resolves_our_configs(source, tmp_path):
    """A wheel of links, as ``pip install -e`` makes it, unpacked by hand."""
    built = python('-c', 'from setuptools import build_meta as b; '
                   f'print(b.build_editable({str(tmp_path)!r}))', cwd=source)
    zipfile.ZipFile(tmp_path / built.split()[-1]).extractall(tmp_path / 'site')
    # This environment may hold an editable install of its own; it steps aside.
    found = inherited_by(tmp_path, tmp_path / 'site', before=f"""
import site, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in str(finder)]
site.addsitedir({str(tmp_path / 'site')!r})""")
    assert found.startswith(str(source))


def inherited_by(folder: Path, site: Path, before: str = '') -> str:
    """Inherit mmcontrast:: in a config outside; returns where the package lies."""
    (folder / 'mine.py').write_text("_base_ = 'mmcontrast::_base_/runtime.py'\n")
    said = python('-c', f"""{before}
import mmcontrast
from mmengine.config import Config
assert Config.fromfile('mine.py').default_scope == 'mmcontrast'
print(mmcontrast.__file__)""", path=(site,), cwd=folder)
    return said.split()[-1]


def test_installing_beside_the_mm_packages_touches_nothing_else(wheel):
    report = python('-m', 'pip', 'install', '--dry-run', '--quiet', '--no-index',
                    '--ignore-installed', '--no-deps', '--report', '-', wheel)
    metadata = json.loads(report)['install'][0]['metadata']
    asked = {re.split(r'[<>=!; ]', line)[0] for line in metadata['requires_dist']
             if 'extra ==' not in line}
    assert asked == {'numpy', 'pillow', 'rich'}
    # And without a version bound, so that what is there satisfies it.
    assert not [line for line in metadata['requires_dist']
                if 'extra ==' not in line and re.search('[<>=]', line)]
    extras = {'det', 'seg', 'pretrain', 'text', 'cpu', 'jpeg', 'shards', 'lvis',
              'all'}
    assert extras <= set(metadata['provides_extra'])
    plan = json.loads(python('-m', 'pip', 'install', '--dry-run', '--quiet',
                             '--no-index', '--report', '-', wheel))
    assert {item['metadata']['name'] for item in plan['install']} <= {'mmcontrast'}


# Versions.

def test_the_pinned_versions_fit_and_are_those_of_the_requirements():
    text = '\n'.join(path.read_text() for path in (ROOT / 'requirements').glob('*.txt'))
    for neighbor in NEIGHBORS:
        assert fits(neighbor.pin, neighbor)
        assert f'{neighbor.dists[0]}=={neighbor.pin}\n' in text


@pytest.mark.parametrize('version, expected', [
    ('2.0.0', True), ('2.3.6', True), ('2.10.1', True), ('2.3.6+cu128', True),
    ('1.7.2', False), ('3', False), ('3.0.0', False)])
def test_versions_are_compared_as_numbers(version, expected):
    assert fits(version, Neighbor('x', ('x',), '2.0', '3', '2.0')) is expected


def fake_dist(folder: Path, name: str, version: str) -> Path:
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    return folder


def test_a_wrong_version_is_named_with_what_fits_and_the_command(tmp_path):
    fake_dist(tmp_path, 'onedl-mmcv', '1.7.2')
    said = python('-c', 'import mmcontrast', path=(tmp_path, ROOT), status=1)
    assert 'ImportError: mmcontrast cannot work with what is installed here' in said
    assert 'mmcv 1.7.2 found (onedl-mmcv); >=2.0,<2.4 fits; run: pip install' in said
    assert '--no-build-isolation onedl-mmcv==2.3.6' in said
    assert 'torch' not in said.partition('mmcv 1.7.2')[0].partition('ImportError')[2]


def test_all_wrong_versions_are_named_at_once(tmp_path):
    for name in ('onedl-mmdetection', 'onedl-mmsegmentation'):
        fake_dist(tmp_path, name, '0.9.0')
    fake_dist(tmp_path, 'torch', '1.13.1+cu117')
    said = python('-c', 'import mmcontrast', path=(tmp_path, ROOT), status=1)
    assert 'torch 1.13.1+cu117 found (torch); >=2.1,<3 fits' in said
    assert 'mmdet 0.9.0 found' in said and 'mmseg 0.9.0 found' in said
    assert 'pip install onedl-mmsegmentation==1.4.2' in said


# The original packages: the same import names, other distribution names.

@pytest.fixture
def original(tmp_path) -> Path:
    """This environment, with mmdet, mmseg and mmpretrain under their original names.

    Every installed file is linked; only the metadata of the three is other.
    """
    site = tmp_path / 'original'
    site.mkdir()
    hidden = ('onedl_mmdetection', 'onedl_mmsegmentation', 'onedl_mmpretrain')
    for entry in SITE.iterdir():
        # .pth files and finders of editable installs would lead back here.
        if not entry.name.startswith((*hidden, 'mmcontrast', '__editable__')):
            (site / entry.name).symlink_to(entry)
    (site / 'mmcontrast').symlink_to(ROOT / 'mmcontrast')
    for name, version in (('mmdet', '3.3.0'), ('mmsegmentation', '1.2.2'),
                          ('mmpretrain', '1.2.0')):
        fake_dist(site, name, version)
    return site


def test_config_scopes_resolve_under_the_original_names(original, tmp_path):
    for module in ('mmdet', 'mmseg', 'mmpretrain'):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f'{module} is not installed')
    bases = ['mmseg::_base_/default_runtime.py', 'mmdet::_base_/default_runtime.py',
             'mmpretrain::_base_/default_runtime.py', 'mmcontrast::_base_/runtime.py']
    for number, base in enumerate(bases):
        (tmp_path / f'{number}.py').write_text(f'_base_ = {base!r}\n')
    said = python('-S', '-c', f"""
import mmcontrast
from importlib.metadata import version
from mmengine.config import Config
print(version('mmsegmentation'))
for number in range({len(bases)}):
    print(Config.fromfile(f'{{number}}.py').default_scope)
""", path=(original,), cwd=tmp_path)
    assert said.split()[-5:] == ['1.2.2', 'mmseg', 'mmdet', 'mmpretrain', 'mmcontrast']


def test_the_advice_keeps_to_the_line_that_is_installed(original):
    shutil.rmtree(original / 'mmsegmentation-1.2.2.dist-info')
    fake_dist(original, 'mmsegmentation', '0.30.0')
    said = python('-S', '-c', 'import mmcontrast', path=(original,), status=1)
    assert 'mmseg 0.30.0 found (mmsegmentation); >=1.0,<2 fits' in said
    assert "pip install 'mmsegmentation>=1.0,<2'" in said


def test_no_message_asks_pip_for_a_package_that_no_index_holds():
    """issue 16, build 4: pip install 'mmcontrast[...]' works nowhere today."""
    files = [*(ROOT / 'mmcontrast').rglob('*.py'), *(ROOT / 'tools').rglob('*.py'),
             *ROOT.glob('docs/**/*.md'), *ROOT.glob('projects/**/*.md'),
             *ROOT.glob('configs/**/*.md'), ROOT / 'README.md']
    wrong = re.compile(r'pip install\W+(?:"\s*")?\W*mmcontrast(\[|\s|$)')
    found = [str(file.relative_to(ROOT)) for file in files
             if '.mim' not in file.parts and wrong.search(file.read_text())]
    assert found == []


# An interpreter that is used as it is.

def test_a_fitting_interpreter_passes_in_silence():
    assert python('tools/setup_env.py', '--check') == ''


def test_the_error_says_why_an_interpreter_does_not_fit(tmp_path):
    fake_dist(tmp_path, 'onedl-mmengine', '0.7.0')
    said = python('tools/setup_env.py', '--check', path=(tmp_path,), status=1)
    assert f'{sys.executable} is used as it is, and does not fit' in said
    assert 'mmengine 0.7.0 found (onedl-mmengine); >=0.10,<1 fits' in said
    assert f'{sys.executable} -m pip install onedl-mmengine==0.10.12' in said


# Links of the docs.

@pytest.mark.parametrize('script', ['check_links', 'setup_env'])
def test_scripts_for_work_on_the_checkout_have_a_help(script, monkeypatch, capsys):
    """issue 16, B3: the option was opened as a page."""
    monkeypatch.setattr(sys, 'argv', [f'tools/{script}.py', '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / f'tools/{script}.py'), run_name='__main__')
    assert end.value.code == 0 and 'usage: ' in capsys.readouterr().out


def test_a_page_that_is_not_there_is_named(monkeypatch, capsys):
    main = runpy.run_path(str(ROOT / 'tools/check_links.py'))['main']
    with pytest.raises(SystemExit) as end:
        main(['docs/nowhere.md'])
    assert end.value.code == 2 and 'there is no page' in capsys.readouterr().err


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    (tmp_path / 'other.md').write_text('# A heading: with `code`!\n')
    page = tmp_path / 'page.md'
    page.write_text('[ok](other.md#a-heading-with-code) [web](https://nowhere.invalid)\n'
                    '```\n[in code](gone.md)\n```\n'
                    '[bad](gone.md) and ![bad too](gone.png)\n'
                    '[bad](other.md#elsewhere)\n')
    said = python('tools/check_links.py', page, status=1)
    assert 'page.md:5: gone.md' in said and 'page.md:5: gone.png' in said
    assert 'page.md:6: other.md#elsewhere' in said
    assert said.strip().endswith('4 links in 1 pages, 3 broken')

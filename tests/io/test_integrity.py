"""A checkpoint is compared with its manifest wherever it is opened."""
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.model import initialize

from mmcontrast.apis.convert.inspect_checkpoint import describe_checkpoint
from mmcontrast.apis.convert.to_safetensors import to_safetensors
from mmcontrast.apis.loading import load_model
from mmcontrast.apis.test import test as evaluate
from mmcontrast.errors import UserValueError
from mmcontrast.io.checkpoint import read_checkpoint, write_checkpoint
from mmcontrast.io.checkpoint_files import latest_good_checkpoint
from mmcontrast.io.manifest import manifest_path, read_manifest
from tests.helpers.checkpoints import flip_a_bit, three, write
from tests.helpers.disk_runs import write_config
from tests.helpers.runs import run

DAMAGED = 'is damaged: its content does not match the hash in its manifest. It was'


@pytest.fixture(scope='module')
def damaged(tmp_path_factory) -> Path:
    """A run of two epochs whose second checkpoint has one bit flipped."""
    folder = tmp_path_factory.mktemp('damaged')
    config = write_config(folder, epochs=2)
    config.write_text(config.read_text().replace('num_workers=2', 'num_workers=0') + (
        'test_dataloader = train_dataloader\ntest_cfg = dict()\n'
        "test_evaluator = dict(type='Rising')\n"))
    run(str(config), folder / 'work', {})
    path = folder / 'work' / 'epoch_2.pth'
    content = bytearray(path.read_bytes())
    content[500_000] ^= 4
    path.write_bytes(content)
    return folder


# faults X row 1: every way in, also those not listed.
WAYS = {
    'resume': lambda config, path, out: run(config, out, {}, resume=path),
    'load_from': lambda config, path, out: run(config, out, dict(load_from=path)),
    'init_cfg': lambda config, path, out: initialize(
        torch.nn.Linear(1, 1), dict(type='Pretrained', checkpoint=path)),
    'plain runner': lambda config, path, out: run(config, out, dict(
        load_from=path, runner_type='mmengine.Runner')),
    'test': lambda config, path, out: evaluate(config, path, str(out)),
    'infer': lambda config, path, out: load_model(config, path, 'cpu'),
    'safetensors': lambda config, path, out: to_safetensors(
        path, out / 'a.safetensors'),
    'inspect': lambda config, path, out: describe_checkpoint(path)}


@pytest.mark.parametrize('way', WAYS)
def test_a_flipped_bit_is_found_however_the_file_is_opened(
        damaged, tmp_path, scope_as_it_was, way):
    config, path = str(damaged / 'tiny.py'), str(damaged / 'work' / 'epoch_2.pth')
    with pytest.raises(ValueError, match=f'epoch_2.pth {DAMAGED} epoch 2, step 4.*'
                                         'remove epoch_2.pth.json'):
        WAYS[way](config, path, tmp_path)


def test_without_a_manifest_the_checksums_inside_decide(tmp_path):
    # faults X row 1, sibling: a checkpoint that was copied alone.
    path = three(tmp_path)[2]
    flip_a_bit(path)
    manifest_path(path).unlink()
    with pytest.raises(UserValueError, match='epoch_3.pth is damaged: the checksum of '
                                             'its record .* is wrong. Copy'):
        read_checkpoint(path)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path):
    # faults Y row 3, sibling: torch compresses nothing, so that nobody needs this.
    torch.save(dict(a=torch.zeros(2**23)), tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth') as plain, zipfile.ZipFile(
            tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / 'b.pth').stat().st_size < 10**5
    with pytest.raises(UserValueError, match='b.pth is damaged: .*unpack to 33554432'):
        read_checkpoint(tmp_path / 'b.pth')


def test_a_file_that_was_written_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(a=torch.ones(9)), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_checkpoint(tmp_path / 'a.pth')['a'].sum() == 9


def test_a_file_written_over_a_checkpoint_loses_its_manifest(tmp_path):
    path = three(tmp_path)[2]
    write_checkpoint(dict(state_dict={'a': torch.ones(9)}), path)
    assert read_checkpoint(path)['state_dict']['a'].sum() == 9
    assert not manifest_path(path).exists()
    # What is no manifest is not ours to remove.
    manifest_path(path).write_text('{"mine": 1}')
    write_checkpoint(dict(state_dict={}), path)
    assert manifest_path(path).exists()


@contextmanager
def another_user(wanted: bool):
    """Root may read everything; for others mode 0 forbids it."""
    root = wanted and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def forbid(path: Path) -> None:
    path.chmod(0)


def fail(path: Path) -> None:
    """Reading gives an I/O error."""
    path.unlink()
    path.symlink_to('/proc/self/mem')


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to('/nowhere/epoch_3.pth')


@pytest.fixture
def open_folder():
    """A folder that every user may enter; pytest's may not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


# faults X row 2; siblings: an I/O error, a link whose target is gone, no manifest.
@pytest.mark.parametrize('harm, reason', [
    (forbid, 'cannot be read: Permission denied'),
    (fail, 'cannot be read: Input/output error'),
    (dangle, 'is a link to /nowhere/epoch_3.pth, which is missing')])
@pytest.mark.parametrize('manifest', [True, False])
def test_the_next_one_is_tried_where_the_newest_cannot_be_read(
        open_folder, warned, harm, reason, manifest):
    paths = three(open_folder)
    if manifest:  # An I/O error comes after the size was compared.
        text = manifest_path(paths[2]).read_text()
        size = f'"bytes": {paths[2].stat().st_size}'
        if harm is fail:
            manifest_path(paths[2]).write_text(text.replace(size, '"bytes": 0'))
    else:
        manifest_path(paths[2]).unlink()
    harm(paths[2])
    with another_user(harm is forbid):
        assert latest_good_checkpoint(open_folder) == paths[1]
    assert warned == [f'{paths[2]} {reason}. Trying an older checkpoint.']


@pytest.mark.parametrize('harm', [forbid, fail])
def test_a_file_named_by_hand_that_cannot_be_read_is_not_called_unwritable(
        open_folder, harm):
    path = write(open_folder, 'epoch_3.pth', 12)
    harm(path)
    manifest_path(path).unlink()
    with another_user(harm is forbid), pytest.raises(UserValueError, match=(
            'epoch_3.pth cannot be read: .*Give this user the right to read it')):
        read_checkpoint(path)


def test_a_link_to_itself_is_passed_over(tmp_path, warned):
    paths = three(tmp_path)
    paths[2].unlink()
    paths[2].symlink_to(paths[2])
    assert latest_good_checkpoint(tmp_path) == paths[1]
    assert 'is a link to' in warned[0]


# faults X, siblings: files that are whole, but not what a run resumes from.
@pytest.mark.parametrize('change, missing', [
    (lambda c: c.pop('meta'), 'meta.epoch, meta.iter'),
    (lambda c: c.update(meta=[1]), 'meta.epoch, meta.iter'),
    (lambda c: c['meta'].update(iter=float('inf')), 'meta.iter'),
    (lambda c: c.pop('message_hub'), 'message_hub'),
    (lambda c: c.update(state_dict=3), 'state_dict')])
def test_weights_alone_are_not_resumed_from(damaged, tmp_path, scope_as_it_was, change,
                                            missing):
    content = read_checkpoint(damaged / 'work' / 'epoch_1.pth')
    change(content)
    torch.save(content, tmp_path / 'epoch_1.pth')
    with pytest.raises(UserValueError, match=(
            f'epoch_1.pth is no checkpoint of a training: it lacks {missing}. To')):
        run(str(damaged / 'tiny.py'), tmp_path / 'work', {},
            resume=str(tmp_path / 'epoch_1.pth'))


def test_only_links_to_nowhere_are_no_new_beginning(tmp_path):
    # faults X row 2, sibling: the disk that the checkpoints lie on is not mounted.
    dangle(three(tmp_path)[2])
    for path in tmp_path.glob('epoch_[12].*'):
        path.unlink()
    with pytest.raises(UserValueError, match='No checkpoint of .* can be used'):
        latest_good_checkpoint(tmp_path)


# faults X row 3 and its siblings: what json raises, or does not end with.
@pytest.mark.parametrize('text', [
    '[' * 200_000, '{"a":' * 100_000, '{"step": ' + '9' * 5000 + '}',
    ' ' * (2**26 + 1)], ids=['brackets', 'braces', 'digits', 'huge'])
def test_a_manifest_that_cannot_be_parsed_is_judged_without(tmp_path, warned, text):
    paths = three(tmp_path)
    manifest_path(paths[2]).write_text(text)
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert 'epoch_3.pth.json is no manifest of a checkpoint' in warned[0]
    assert read_checkpoint(paths[2])['meta']['iter'] == 12
    flip_a_bit(paths[2])
    assert latest_good_checkpoint(tmp_path) == paths[1]


def test_an_unreadable_manifest_is_judged_without(tmp_path, warned):
    paths = three(tmp_path)
    fail(manifest_path(paths[2]))
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert 'epoch_3.pth.json cannot be read (Input/output error)' in warned[0]
    assert read_manifest(paths[1]).step == 8


def test_a_run_resumes_past_a_checkpoint_that_cannot_be_read(
        tmp_path, scope_as_it_was):
    # faults X row 2: with --resume, through the tool.
    config = write_config(tmp_path, epochs=3)
    config.write_text(config.read_text().replace('num_workers=2', 'num_workers=0'))
    run(str(config), tmp_path / 'work', {})
    fail(tmp_path / 'work' / 'epoch_3.pth')
    manifest_path(tmp_path / 'work' / 'epoch_3.pth').unlink()
    runner = run(str(config), tmp_path / 'work', {}, resume='auto')
    assert runner.epoch == 3 and Path(runner.resumed_from).name == 'epoch_2.pth'

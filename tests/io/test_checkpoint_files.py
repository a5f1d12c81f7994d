"""Training checkpoints have a manifest; the newest undamaged one is found."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmcontrast.errors import UserValueError
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.checkpoint_files import (
    clean_up,
    latest_good_checkpoint,
    remove_checkpoint,
)
from mmcontrast.io.checkpoint_writer import count_bytes
from mmcontrast.io.manifest import file_sha256, manifest_path, read_manifest
from tests.helpers.checkpoints import flip_a_bit, three, write
from tests.helpers.processes import run_python


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b'')


def test_a_checkpoint_has_a_manifest_that_describes_it(tmp_path):
    path = write(tmp_path, 'epoch_3.pth', step=12, epoch=3)
    content = json.loads((tmp_path / 'epoch_3.pth.json').read_text())
    expected = subprocess.check_output(['sha256sum', path], text=True).split()[0]
    assert content['sha256'] == expected and content['bytes'] == path.stat().st_size
    assert content['file'] == path.name
    assert content['epoch'] == 3 and content['step'] == 12
    assert content['config'] == 'a = 1\n'
    assert content['versions']['torch'] == torch.__version__.partition('+')[0]
    assert {'python', 'mmengine', 'mmcv', 'mmcontrast'} <= set(content['versions'])
    assert sorted(os.listdir(tmp_path)) == ['epoch_3.pth', 'epoch_3.pth.json']


def test_writing_takes_no_second_copy_of_the_weights(tmp_path):
    script = (
        'import resource, torch\n'
        'from mmcontrast.io.checkpoint_writer import write_training_checkpoint\n'
        'peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'def write(size):\n'
        '    write_training_checkpoint(dict(a=torch.ones(size)), "a.pth", epoch=1,\n'
        '                              step=1, config_text="")\n'
        'write(9)\n'
        'weights = torch.ones(2**24)\n'
        'before = peak()\n'
        'write_training_checkpoint(dict(a=weights), "a.pth", epoch=1, step=1,\n'
        '                          config_text="")\n'
        'print(peak() - before)\n')
    grown = int(subprocess.check_output([sys.executable, '-c', script], text=True,
                                        cwd=tmp_path).split()[-1])
    assert grown < 8 * 1024  # KiB; the weights have 64 MiB.


def test_bytes_are_counted_as_torch_saves_them(tmp_path):
    base = torch.zeros(1000)
    buffer = HistoryBuffer([1.] * 500, [1] * 500)
    checkpoint = dict(a=base[:10], b=[base], c=(torch.zeros(7, dtype=torch.int8),),
                      log=dict(loss=buffer))
    # A view brings the whole of its storage, once; the log is two arrays of 500.
    assert count_bytes(checkpoint) == 4000 + 7 + 500 * 8 + 500 * 8
    path = tmp_path / 'a.pth'
    torch.save(checkpoint, path)
    assert abs(path.stat().st_size - count_bytes(checkpoint)) < 4000


def test_the_newest_is_found(tmp_path):
    assert latest_good_checkpoint(tmp_path) is None
    assert latest_good_checkpoint(tmp_path / 'none') is None
    paths = three(tmp_path)
    os.utime(paths[2], (1, 1))  # Copies keep no times.
    assert latest_good_checkpoint(tmp_path) == paths[2]


@pytest.mark.parametrize('damage', [flip_a_bit, cut, empty])
@pytest.mark.parametrize('manifest', [True, False])
def test_a_damaged_newest_is_named_and_passed_over(tmp_path, warned, damage, manifest):
    paths = three(tmp_path)
    damage(paths[2])
    if not manifest:
        manifest_path(paths[2]).unlink()
    assert latest_good_checkpoint(tmp_path) == paths[1]
    assert len(warned) == 1 and f'{paths[2]} is damaged' in warned[0]


@pytest.mark.parametrize('damage', [flip_a_bit, cut, empty])
def test_all_damaged_is_an_error_and_not_a_new_beginning(tmp_path, damage):
    damage(three(tmp_path)[2])
    for n in (1, 2):
        empty(tmp_path / f'epoch_{n}.pth')
    # Of the kind that our tools print without a traceback.
    with pytest.raises(UserValueError, match=(
            r'No checkpoint of .* can be used.*epoch_3.*epoch_2.*epoch_1.*remove them '
            'to start')):
        latest_good_checkpoint(tmp_path)


@pytest.mark.parametrize('text', ['', '{"file"', '[]', '{"file": "epoch_3.pth"}',
                                  '{"file": 3, "bytes": "many"}', '\udcff'])
def test_a_damaged_manifest_is_named_and_the_file_checked_by_itself(
        tmp_path, warned, text):
    paths = three(tmp_path)
    manifest_path(paths[2]).write_bytes(text.encode('utf-8', 'surrogateescape'))
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert len(warned) == 1 and 'epoch_3.pth.json is no manifest' in warned[0]
    flip_a_bit(paths[2])
    assert latest_good_checkpoint(tmp_path) == paths[1]


@pytest.mark.parametrize('manifests', [True, False])
def test_an_earlier_run_in_the_folder_is_not_gone_on_with(tmp_path, manifests):
    def write_at(name, step, minute):
        path = write(tmp_path, name, step)
        os.utime(path, (60 * minute, 60 * minute))
        if manifests:
            content = json.loads(manifest_path(path).read_text())
            content['written'] = f'2026-01-01T00:{minute:02}:00+00:00'
            manifest_path(path).write_text(json.dumps(content))
        else:
            manifest_path(path).unlink()
        return path

    old = [write_at(f'epoch_{n}.pth', n, n) for n in (8, 9)]
    # Started again in the same folder, without --resume.
    new = [write_at(f'epoch_{n}.pth', n, 10 + n) for n in (1, 2, 3)]
    (tmp_path / 'last_checkpoint').write_text(str(new[1]))
    assert latest_good_checkpoint(tmp_path) == new[2]  # Killed before it was noted.
    (tmp_path / 'last_checkpoint').write_text(str(new[2]))
    assert latest_good_checkpoint(tmp_path) == new[2]
    if manifests:
        cut(new[2])
        assert latest_good_checkpoint(tmp_path) == new[1]
        for path in new[:2]:
            cut(path)
        assert latest_good_checkpoint(tmp_path) == old[1]


@pytest.mark.parametrize('text', [None, '', 'gone.pth', '/nowhere/epoch_9.pth', '\0',
                                  'epoch_1.pth'])
def test_last_checkpoint_decides_nothing_by_itself(tmp_path, text):
    paths = three(tmp_path)
    if text is not None:
        (tmp_path / 'last_checkpoint').write_text(text)
    assert latest_good_checkpoint(tmp_path) == paths[2]


def test_last_checkpoint_leads_to_another_folder_and_another_name(tmp_path):
    work_dir, out_dir = tmp_path / 'work', tmp_path / 'out'
    work_dir.mkdir()
    write(work_dir, 'epoch_1.pth', 4)
    path = write(out_dir, 'mine_8.pth', 8)
    manifest_path(path).unlink()
    assert latest_good_checkpoint(work_dir).name == 'epoch_1.pth'
    (work_dir / 'last_checkpoint').write_text(str(path))
    assert latest_good_checkpoint(work_dir, out_dir) == path
    # faults E: nobody else's folder, whatever the note says.
    assert latest_good_checkpoint(work_dir).name == 'epoch_1.pth'


def test_a_work_dir_that_is_named_in_two_ways_is_looked_through_once(
        tmp_path, monkeypatch, warned):
    three(tmp_path / 'run')
    cut(tmp_path / 'run' / 'epoch_3.pth')
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run/epoch_3.pth'))
    monkeypatch.chdir(tmp_path)
    assert latest_good_checkpoint('run') == Path('run/epoch_2.pth')
    assert len(warned) == 1


def test_a_moved_work_dir_still_finds_its_own(tmp_path):
    path = write(tmp_path / 'old', 'mine_8.pth', 8)
    manifest_path(path).unlink()
    (tmp_path / 'old' / 'last_checkpoint').write_text(str(path))
    shutil.move(tmp_path / 'old', tmp_path / 'new')
    assert latest_good_checkpoint(tmp_path / 'new') == tmp_path / 'new' / 'mine_8.pth'


@pytest.mark.parametrize('manifests', [True, False])
def test_epochs_and_iterations_are_compared_by_their_step(tmp_path, manifests):
    three(tmp_path)
    write(tmp_path, 'iter_9.pth', 9)
    newest = write(tmp_path, 'iter_13.pth', 13)
    write(tmp_path, 'best_acc_iter_99.pth', 99)
    torch.save({'conv.weight': torch.ones(1)}, tmp_path / 'backbone.pth')
    if not manifests:
        for path in tmp_path.glob('*.json'):
            path.unlink()
    assert latest_good_checkpoint(tmp_path) == newest
    remove_checkpoint(newest)
    assert latest_good_checkpoint(tmp_path).name == 'epoch_3.pth'


def test_a_newer_file_half_copied_is_passed_over(tmp_path, warned):
    paths = three(tmp_path)
    content = write(tmp_path / 'elsewhere', 'epoch_4.pth', 16).read_bytes()
    (tmp_path / 'epoch_4.pth').write_bytes(content[:len(content) // 2])
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert 'epoch_4.pth is damaged' in warned[0]


def test_an_old_format_checkpoint_counts(tmp_path):
    three(tmp_path)
    torch.save(dict(state_dict={'a': torch.ones(9)}, meta=dict(iter=20)),
               tmp_path / 'epoch_5.pth', _use_new_zipfile_serialization=False)
    assert latest_good_checkpoint(tmp_path).name == 'epoch_5.pth'
    cut(tmp_path / 'epoch_5.pth')
    assert latest_good_checkpoint(tmp_path).name == 'epoch_3.pth'


def test_a_file_that_runs_code_is_damaged_and_not_run(tmp_path, warned):
    paths, trace = three(tmp_path), tmp_path / 'trace'

    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {trace}',)

    torch.save(dict(state_dict=Payload(), meta=dict(iter=99)), tmp_path / 'epoch_9.pth')
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert not trace.exists() and 'is code and not data' in warned[0]


def test_writing_a_name_again_never_leaves_a_manifest_of_the_old_file(tmp_path):
    # Killed between the file and its manifest: the new file, and no manifest.
    path = write(tmp_path, 'epoch_1.pth', 4)
    script = (
        'import os, torch\n'
        'from mmcontrast.io import checkpoint_writer\n'
        'checkpoint_writer.write_manifest = lambda *_: os._exit(9)\n'
        'checkpoint_writer.write_training_checkpoint(\n'
        '    dict(state_dict=dict(a=torch.zeros(5)), meta=dict(iter=5)),\n'
        '    "epoch_1.pth", epoch=1, step=5, config_text="")\n')
    assert run_python([sys.executable, '-c', script], cwd=tmp_path).returncode == 9
    assert os.listdir(tmp_path) == ['epoch_1.pth']
    assert latest_good_checkpoint(tmp_path) == path
    assert read_checkpoint(path)['meta']['iter'] == 5


def test_a_writer_killed_half_way_leaves_the_old_file_and_is_cleaned_up_after(tmp_path):
    path = write(tmp_path, 'epoch_1.pth', 4)
    before = file_sha256(path)
    script = (
        'import os, torch\n'
        'from mmcontrast.io import checkpoint_writer\n'
        'class Dies(checkpoint_writer.HashingWriter):\n'
        '    def write(self, data):\n'
        '        if self.num_bytes > 10**6:\n'
        '            self.file.flush()\n'
        '            os.kill(os.getpid(), 9)\n'
        '        return super().write(data)\n'
        'checkpoint_writer.HashingWriter = Dies\n'
        'checkpoint_writer.write_training_checkpoint(\n'
        '    dict(a=torch.zeros(10**6), b=torch.zeros(10**6)), "epoch_1.pth",\n'
        '    epoch=1, step=5, config_text="")\n')
    assert run_python([sys.executable, '-c', script], cwd=tmp_path).returncode == -9
    partial, = tmp_path.glob('.*.partial')
    assert partial.stat().st_size > 10**6 and file_sha256(path) == before
    assert latest_good_checkpoint(tmp_path) == path
    assert clean_up(tmp_path) == [partial]
    assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth', 'epoch_1.pth.json']


def test_files_of_a_living_writer_stay(tmp_path):
    host, pid = socket.gethostname(), os.getppid()
    living = tmp_path / f'.epoch_1.pth.{host}-{pid}.partial'
    elsewhere = tmp_path / f'.epoch_1.pth.other-host-{pid}.partial'
    for path in (living, elsewhere):
        path.write_bytes(b'half')
    assert clean_up(tmp_path) == []
    long_ago = time.time() - 4000
    os.utime(elsewhere, (long_ago, long_ago))
    assert clean_up(tmp_path) == [elsewhere]


def test_only_manifests_without_their_checkpoint_are_removed(tmp_path):
    paths = three(tmp_path)
    paths[0].unlink()
    (tmp_path / 'notes.pth.json').write_text('{"mine": 1}')
    assert latest_good_checkpoint(tmp_path) == paths[2]
    assert clean_up(tmp_path) == [manifest_path(paths[0])]
    assert (tmp_path / 'notes.pth.json').exists()
    assert read_manifest(paths[1]).step == 8


@pytest.mark.parametrize('content', [b'\x89PNG\r\n\x1a\n', b'<html>'])
def test_a_file_that_is_no_checkpoint_is_not_called_code(tmp_path, content):
    (tmp_path / 'image.pth').write_bytes(content)
    with pytest.raises(ValueError, match='image.pth cannot be read as a checkpoint'):
        read_checkpoint(tmp_path / 'image.pth')

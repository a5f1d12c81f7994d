import json
from pathlib import Path

import pytest
from transfer_table.plots import gain_bars
from transfer_table.report import cell, markdown
from transfer_table.runs import list_runs
from transfer_table.suite import read_suite

from mmcontrast.apis.config import UsageError
from mmcontrast.apis.data.make_shapes import make_shapes
from tests.helpers.processes import call_tool

ROOT = Path(__file__).parents[2]
PRETRAIN = ROOT / 'configs/pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py'
FCN = ROOT / 'projects/downstream/mmseg/fcn_r18-d16_1xb8-60it_shapes-things-128x128.py'
SUITE = """
title = 'Two steps of everything'
about = 'What is compared.'
seeds = [4]
starts = [
    dict(name='random'),
    dict(name='PixPro', config={pretrain!r}, options={{
        'train_cfg.max_iters': 2, 'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.data_root': '{data}/img_dir/train',
        'param_scheduler.end': 2, 'param_scheduler.warmup': 1,
        'default_hooks.probe.num_train': 8, 'default_hooks.probe.num_val': 2, **{{
            f'default_hooks.probe.{{split}}_dataset.{{kind}}_dir':
                f'{data}/{{kind}}_dir' + ('_things/' if kind == 'ann' else '/') + split
            for split in ('train', 'val') for kind in ('img', 'ann')}}}})]
tasks = [
    dict(name='FCN', config={fcn!r}, metric='mIoU', group='Segmentation', options={{
        'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, **{{
            f'{{split}}_dataloader.dataset.data_root': '{data}'
            for split in ('train', 'val', 'test')}}}}),
    dict(name='probe', protocol='dense-linear', network={pretrain!r}, metric='mIoU',
         scale=100, options=dict(
             data='{data}', ann_dir='ann_dir_things', num_classes=3, size=64,
             fraction=0.5))]
published = [dict(row='PixPro', column='VOC AP', value=60.2, source='the paper')]
"""


@pytest.fixture(scope='module')
def suite_file(tmp_path_factory):
    data = tmp_path_factory.mktemp('data') / 'shapes'
    make_shapes(data, ['mmseg'], train=8, val=2, test=2, progress=False)
    file = data.parent / 'tiny.py'
    file.write_text(SUITE.format(pretrain=str(PRETRAIN), fcn=str(FCN), data=data))
    return file


pytestmark = pytest.mark.usefixtures('warm_tools')


def transfer(suite, folder, *options, call=call_tool):
    return call('tools/benchmark/transfer.py', suite, '--work-dir', folder / 'runs',
                '--out', folder / 'out', *options)


def test_what_is_done_stays_and_what_changed_is_done_again(suite_file, tmp_path):
    ended = transfer(suite_file, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = {file: file.read_text() for file in tmp_path.rglob('result.json')}
    assert {str(file.parent.relative_to(tmp_path / 'runs/tiny')) for file in results
            } == {'random/fcn_seed4', 'random/probe_seed4', 'pixpro/pretrain_seed0',
                  'pixpro/fcn_seed4', 'pixpro/probe_seed4'}
    page = (tmp_path / 'out/tiny.md').read_text()
    record = json.loads((tmp_path / 'out/tiny.json').read_text())
    scores = {r['start']: r['value'] for r in record['runs'] if r['task'] == 'FCN'}
    for name, score in scores.items():
        assert any(line.startswith(f'| {name} |') and f'{score:.1f}' in line
                   for line in page.splitlines())
    # The start is what differs: the exported weights went in, and only there.
    commands = {r['start']: ' '.join(r['commands']) for r in record['runs']
                if r['task'] == 'FCN'}
    assert 'init_cfg.checkpoint=' in commands['PixPro']
    assert 'init_cfg.checkpoint=' not in commands['random']
    # Frozen: weights of the row, or random ones of the same network.
    probes = {r['start']: r for r in record['runs'] if r['task'] == 'probe'}
    assert '--weights random' in ' '.join(probes['random']['commands'])
    assert 'pretrain_seed0/backbone.pth' in ' '.join(probes['PixPro']['commands'])
    for row in probes.values():
        assert row['value'] == pytest.approx(100 * row['scores']['mIoU'])
    # Published figures stand apart, with their source.
    assert page.index('## Published') > page.index('| PixPro |')
    assert 'the paper' in page and '60.2' not in page[:page.index('## Published')]
    assert record['missing'] == 0
    for plot in ('bars', 'probe'):
        assert f'(tiny_{plot}.png)' in page
        assert (tmp_path / f'out/tiny_{plot}.png').is_file()

    # Nothing to do: no file is touched. The task changes: the pretraining stays.
    assert transfer(suite_file, tmp_path).returncode == 0
    assert all(file.read_text() == text for file, text in results.items())
    changed = suite_file.with_name('changed') / 'tiny.py'
    changed.parent.mkdir(exist_ok=True)
    changed.write_text(suite_file.read_text() + (
        "\ntasks[0]['options']['optim_wrapper.optimizer.lr'] = 1e-4\n"))
    todo = transfer(changed, tmp_path, '--dry-run').stdout.splitlines()
    assert todo == ['todo random, FCN, seed 4', 'done random, probe, seed 4',
                    'done PixPro, pretraining, seed 0', 'todo PixPro, FCN, seed 4',
                    'done PixPro, probe, seed 4']


def test_a_failing_run_is_named_and_the_others_continue(suite_file, tmp_path):
    broken = tmp_path / 'tiny.py'
    broken.write_text(suite_file.read_text() + (
        "\nstarts = [dict(name='lost', checkpoint='no/such.pth'), starts[0]]\n"))
    ended = transfer(broken, tmp_path)
    assert ended.returncode == 1
    assert 'lost, FCN, seed 4' in ended.stderr and 'no/such.pth' in ended.stderr
    record = json.loads((tmp_path / 'out/tiny.json').read_text())
    assert [run['start'] for run in record['runs']] == ['random', 'random']
    assert record['missing'] == 2
    assert 'Not complete' in (tmp_path / 'out/tiny.md').read_text()


def test_no_run_begins_when_the_time_is_over(suite_file, tmp_path):
    ended = transfer(suite_file, tmp_path, '--minutes', '0')
    assert ended.returncode == 0 and '5 runs are left' in ended.stdout
    assert not list(tmp_path.rglob('log.txt'))


def write(folder, **changes):
    content = dict(
        title='t', seeds=[0, 1, 2], starts=[dict(name='random'), dict(name='A')],
        tasks=[dict(name='x', config=str(FCN), metric='mIoU')]) | changes
    file = folder / 'suite.py'
    file.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return str(file)


def test_cells_give_mean_and_deviation_and_mark_what_always_wins(tmp_path):
    suite = read_suite(write(tmp_path))
    base, better = ((start.name, 'x') for start in suite.starts)
    values = {base: {0: 1., 1: 2., 2: 6.}, better: {0: 2., 1: 3., 2: 7.}}
    # Mean 3, deviations -2, -1, 3: the root of 14 / 2.
    assert cell(suite, suite.starts[0], suite.tasks[0], values) == '3.0 ± 2.6'
    assert cell(suite, suite.starts[1], suite.tasks[0], values) == '**4.0 ± 2.6**'
    values[better][1] = 1.9
    assert not cell(suite, suite.starts[1], suite.tasks[0], values).startswith('**')
    del values[better][1], values[better][2]
    assert cell(suite, suite.starts[1], suite.tasks[0], values) == '**2.0 (1)**'


def test_a_table_leaves_out_rows_that_have_none_of_its_tasks(tmp_path):
    tasks = [dict(name=name, config=str(FCN), metric='mIoU', group=name)
             for name in 'xy']
    starts = [dict(name='all'), dict(name='some', tasks=['x'])]
    suite = read_suite(write(tmp_path, tasks=tasks, starts=starts))
    values = {('all', 'x'): {0: 1.}, ('some', 'x'): {0: 2.}, ('all', 'y'): {0: 3.}}
    page = markdown(suite, values, [], 0, [], 'a command')
    of_x, of_y = page.split('## x')[1].split('## y')
    assert '| all | 1.0 (1) |' in of_x and '| some | **2.0 (1)** |' in of_x
    assert '| all | 3.0 (1) |' in of_y and 'some' not in of_y


def test_bars_are_as_long_as_the_gain_over_the_first_row(tmp_path):
    suite = read_suite(write(tmp_path))
    base, better = ((start.name, 'x') for start in suite.starts)
    figure = gain_bars(suite, {base: {0: 1., 1: 2., 2: 6.}, better: {0: 2., 1: 5.}})
    axes, = figure.subfigs[0].axes
    assert [bar.get_width() for bar in axes.patches] == [0, 3.5 - 3]
    assert [text.get_text() for text in axes.texts] == ['3.0', '3.5']
    assert [label.get_text() for label in axes.get_yticklabels()] == ['random', 'A']


def test_seeds_share_a_pretraining_or_have_their_own(tmp_path):
    starts = [dict(name='A', config=str(PRETRAIN))]
    shared = list_runs(read_suite(write(tmp_path, starts=starts)), tmp_path)
    assert [(run.task is None, run.seed) for run in shared] == [
        (True, 0), (False, 0), (False, 1), (False, 2)]
    each = list_runs(read_suite(
        write(tmp_path, starts=starts, pretrain_seeds=[0, 1, 2])), tmp_path)
    assert [run.needs.seed for run in each if run.task] == [0, 1, 2]
    assert len({run.folder for run in each}) == 6


def test_a_row_may_have_tasks_seeds_and_options_of_its_own(tmp_path):
    tasks = [dict(name='x', config=str(FCN), metric='mIoU', options=dict(a=1, b=2)),
             dict(name='y', config=str(FCN), metric='mIoU')]
    starts = [dict(name='all'), dict(name='some', tasks=['x'], seeds=[1, 2],
                                     task_options=dict(b=3)),
              dict(name='A', config=str(PRETRAIN), seeds=[1])]
    runs = list_runs(read_suite(write(tmp_path, starts=starts, tasks=tasks)), tmp_path)
    done = [(run.start.name, run.task and run.task.name, run.seed) for run in runs]
    assert [row for row in done if row[0] == 'some'] == [
        ('some', 'x', 1), ('some', 'x', 2)]
    assert [row for row in done if row[0] == 'A'] == [
        ('A', None, 0), ('A', 'x', 1), ('A', 'y', 1)]
    assert [run.task.options for run in runs if run.seed == 1 and run.task
            and run.task.name == 'x'] == [
        dict(a=1, b=2), dict(a=1, b=3), dict(a=1, b=2)]


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(starts=[dict(nam='a')]), "unknown key 'nam'.*did you mean 'name'"),
    (dict(starts=[dict(name='a'), dict(name='a')]), "'a'.* twice"),
    (dict(tasks=[]), 'tasks is empty'),
    (dict(tasks=[dict(name='x', config=str(FCN))]), r'tasks\[0\] lacks metric'),
    (dict(tasks=[dict(name='x', metric='m')]), "'x' must have either"),
    (dict(tasks=[dict(name='x', metric='m', protocol='knn')]), "'x'.* no network"),
    (dict(starts=[dict(name='a', config=str(FCN), checkpoint='b.pth')]), 'one of them'),
    (dict(starts=[dict(name='a', tasks=['z'])]), r"the tasks \['z'\], which"),
    (dict(seeds=['0']), 'seeds must be whole numbers'),
    (dict(tittle='x'), "unknown key 'tittle'.*'title'"),
])
def test_suites_that_make_no_sense_are_rejected(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        read_suite(write(tmp_path, **changes))


def test_a_missing_config_and_a_missing_reduced_form_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tasks 'x': config .*fcn.py"):
        read_suite(write(tmp_path, tasks=[
            dict(name='x', config=str(tmp_path / 'fcn.py'), metric='mIoU')]))
    with pytest.raises(UsageError, match='no reduced form'):
        read_suite(write(tmp_path), reduced=True)


def test_the_reduced_form_keeps_what_it_names(tmp_path):
    path = write(tmp_path, reduced=dict(
        seeds=[5], starts=['A'], task_options={'train_cfg.max_iters': 3}))
    suite = read_suite(path, reduced=True)
    assert [start.name for start in suite.starts] == ['A'] and suite.seeds == [5]
    assert suite.tasks[0].options == {'train_cfg.max_iters': 3}
    assert suite.name == 'suite_reduced'


def test_the_suite_on_the_page_is_one(tmp_path, monkeypatch):
    page = (ROOT / 'docs/benchmarks/README.md').read_text()
    block = next(text for text in page.split('```') if text.startswith('python\ntitle'))
    file = tmp_path / 'mine.py'
    file.write_text(block.removeprefix('python'))
    monkeypatch.chdir(ROOT)
    assert len(read_suite(str(file)).tasks) == 2
    small = read_suite(str(file), reduced=True)
    assert [task.name for task in small.tasks] == ['10 % of the labels']
    assert small.tasks[0].options == {'train_cfg.max_iters': 20}

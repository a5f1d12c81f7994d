import json
import os
import sys
import time
from pathlib import Path

import pytest
from timing.frame import SUITES, Measure, Row, Spread, run_suite, suite, time_in_turns
from timing.report import describe_machine, git_commit, markdown, write_report

from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]


@pytest.fixture
def counting_suite():
    """A suite whose n-th run, the warm-up being run 0, measures ten times n."""
    @suite('counting', 'Counting runs', threads=1)
    def counting(start: int = 0):
        turns = iter(range(start, start + 100))

        def run():
            turn = next(turns)
            yield Row('count', 10 * turn, 'ms', reference='released code: 5 ms')
            yield Row('pair', [turn, -turn], 'x', target='at most 1')
        return run
    yield SUITES['counting']
    del SUITES['counting']


def test_warm_up_does_not_count_and_median_and_range_are_kept(counting_suite):
    count, pair = run_suite('counting', runs=3, progress=False)
    assert count.spread.values == [10, 20, 30]
    assert (count.spread.median, count.spread.least, count.spread.greatest) == (
        20, 10, 30)
    assert pair.spread.values == [1, -1, 2, -2, 3, -3]
    assert (count.reference, pair.target) == ('released code: 5 ms', 'at most 1')


def test_options_reach_the_suite(counting_suite):
    assert list(counting_suite.options()) == ['start']
    count = run_suite('counting', runs=1, progress=False, start=7)[0]
    assert count.spread.values == [80]


def test_unknown_suite_and_no_runs_are_rejected(counting_suite):
    with pytest.raises(KeyError, match='counting'):
        run_suite('cuonting', runs=1, progress=False)
    with pytest.raises(ValueError, match='at least 1, got 0'):
        run_suite('counting', runs=0, progress=False)


def test_a_name_belongs_to_one_suite(counting_suite):
    def prepare():
        return None
    prepare.__module__ = 'elsewhere'
    with pytest.raises(ValueError, match="registers a suite 'counting' already"):
        suite('counting', 'Another')(prepare)


def test_compare_takes_turns_and_sets_times_against_the_first():
    calls = []

    def plain():
        calls.append('plain')
        time.sleep(0.004)

    def double():
        calls.append('double')
        time.sleep(0.008)

    found = time_in_turns({'plain': plain, 'double': double}, runs=3, warmup=1)
    assert calls == ['plain', 'double'] * 4
    assert found.ratios['plain'].values == [1, 1, 1]
    assert len(found.times['double'].values) == 3
    assert found.times['double'].least >= 0.008
    # Pair by pair: the ratio of turn n is made of the two times of turn n.
    assert found.ratios['double'].values == [
        mine / its for mine, its in zip(
            found.times['double'].values, found.times['plain'].values, strict=True)]


def test_report_names_machine_command_commit_and_quotes_references(
        counting_suite, tmp_path):
    measures = run_suite('counting', runs=3, progress=False)
    json_path, page = write_report(
        counting_suite, measures, tmp_path / 'new', 'python run.py counting')
    report = json.loads(json_path.read_text())
    assert report['rows'][0]['spread']['values'] == [10, 20, 30]
    assert report['machine']['cpu'] and report['machine']['packages']['torch']
    assert report['commit'] == git_commit() != ''
    text = page.read_text()
    assert '`python run.py counting`' in text
    assert '| count | ms | 20 | 10 to 30 | 3 |  | released code: 5 ms |' in text
    assert 'not measured here' in text


def test_columns_that_no_row_fills_are_left_out():
    row = dict(name='a', unit='ms', spread=vars(Spread.of([1234.5])), reference='',
               target='')
    page = markdown(dict(title='T', command='c', date='2026-01-01', commit='abc',
                         machine=describe_machine(), rows=[row]))
    assert '| a | ms | 1234 | 1234 to 1234 | 1 |' in page.splitlines()
    assert 'reference' not in page


def test_measure_of_nothing_is_an_error():
    with pytest.raises(ValueError, match='no number'):
        Measure('a', 'ms', Spread.of([]))


def run_tool(*args, **variables):
    # Without the policy the tool starts itself again, in a new interpreter.
    environment = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
    environment['PYTHONPATH'] = str(ROOT)
    return run_python(
        [sys.executable, 'tools/benchmark/run.py', *args], cwd=ROOT,
        env=environment | variables, capture_output=True, text=True)


def test_views_suite_measures_all_pipelines_and_states_targets(tmp_path):
    found = run_tool('views', '--runs', '2', '--images', '3', '--batch', '2', '--out',
                     str(tmp_path), OMP_WAIT_POLICY='passive')
    assert found.returncode == 0, found.stderr
    rows = {row['name']: row for row in
            json.loads((tmp_path / 'views.json').read_text())['rows']}
    chain = rows['PIL chain']
    assert '110-119' in chain['reference']
    for name, least in (('loader side', 4), ('whole chain', 2), ('strict mode', 1)):
        ratio = rows[f'{name} over PIL chain, images/s']
        assert ratio['target'] == f'at least {least}'
        for mine, its, both in zip(
                rows[name]['spread']['values'], chain['spread']['values'],
                ratio['spread']['values'], strict=True):
            assert both == pytest.approx(mine / its)
    for name in ('PIL chain: read and decode', 'strict mode: jitter, view 2',
                 'loader side: decode', 'loader side: stack a batch',
                 'whole chain: colors and normalizing'):
        assert rows[name]['spread']['least'] > 0
    assert '# Two views' in (tmp_path / 'views.md').read_text()


def test_missing_data_is_a_sentence_and_no_traceback(tmp_path):
    found = run_tool('views', '--data', 'no/such/folder', '--out', str(tmp_path),
                     OMP_WAIT_POLICY='passive')
    assert found.returncode == 1
    assert 'no/such/folder' in found.stderr and 'Traceback' not in found.stderr


def test_two_threads_wait_passively(tmp_path):
    found = run_tool('views', '--threads', '2', '--images', '1', '--runs', '1', '--out',
                     str(tmp_path))
    assert found.returncode == 0, found.stderr
    machine = json.loads((tmp_path / 'views.json').read_text())['machine']
    assert machine['omp_wait_policy'] == 'passive'
    assert machine['torch_threads'] == 2


def test_every_suite_file_has_a_docstring_that_says_what_it_measures():
    for path in (ROOT / 'tools/benchmark/suites').glob('*.py'):
        assert path.read_text().startswith('"""'), path

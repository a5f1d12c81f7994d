"""The script in projects/grounding."""
import re
from pathlib import Path

from tests.helpers.processes import call_tool

ROOT = Path(__file__).parents[2]


def test_baselines_of_the_toy_world_are_printed_as_a_table():
    config, = (ROOT / 'configs/propvg').glob('propvg-corrected*shapes-128x128.py')
    done = call_tool(
        'projects/grounding/score_baselines.py', config, '--baselines', 'never',
        'all_objects', '--cfg-options', 'test_dataloader.dataset.num_images=4')
    head, line, never, everything = done.stdout.splitlines()[-4:]
    columns = [name.strip() for name in head.strip('|').split('|')]
    assert set(re.sub(r'[|\s]', '', line)) == {'-'}
    rows = [dict(zip(columns, row.strip('|').split('|'), strict=True))
            for row in (never, everything)]
    assert [float(row['GREC/N_acc']) for row in rows] == [100, 0]
    assert [float(row['GREC/T_acc']) for row in rows] == [0, 100]


def test_a_config_without_test_data_is_named():
    config, = (ROOT / 'configs/propvg').glob('propvg-encoder*.py')
    done = call_tool('projects/grounding/score_baselines.py', config)
    assert done.returncode == 1
    assert f'{config.name} has no test_dataloader' in done.stderr

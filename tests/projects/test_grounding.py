"""The scripts in projects/grounding."""
import json
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
    config, = (ROOT / 'configs/propvg').glob('propvg-encoder-phrases*.py')
    done = call_tool('projects/grounding/score_baselines.py', config)
    assert done.returncode == 1
    assert f'{config.name} has no test_dataloader' in done.stderr


def test_phrases_of_the_toy_world_are_scored_by_their_form(tmp_path):
    """By hand: a half of the boxes right, and one of two absent phrases rejected."""
    square, other = [0, 0, 10, 10], [50, 50, 60, 60]
    rows = [('the red shape', square, 0.9, [square]),
            ('the blue shape', square, 0.2, [other]),
            ('the pink shape', square, 0.6, []),
            ('all cyan shapes', square, 0.7, [square, other]),
            ('the dotted star left of the red heart', None, 0.1, []),
            ('the largest cross', square, 0.6, [square]),
            ('all plain crosses', square, 0.6, [square, other])]
    file = tmp_path / 'dump.jsonl'
    file.write_text('\n'.join(json.dumps(dict(
        text=text, boxes=[other, box] if box else [],
        scores=[0.05, score] if box else [], truth=dict(boxes=true)))
        for text, box, score, true in rows))
    done = call_tool('projects/grounding/score_forms.py', file, '--score-thr', '0.5')
    found = {tuple(cell.strip() for cell in row.strip('|').split('|'))
             for row in done.stdout.splitlines()[-5:]}
    assert found == {
        ('color', '2', '50', '50', '1', '100'), ('all: color', '0', '', '100', '0', ''),
        ('relation', '0', '', '', '1', '0'),
        ('superlative', '1', '100', '100', '0', ''),
        ('all: texture, shape', '0', '', '100', '0', '')}
    file.write_text(json.dumps(dict(
        img_path='a.png', boxes=[], scores=[], truth=dict(boxes=[]))))
    done = call_tool('projects/grounding/score_forms.py', file)
    assert done.returncode == 1 and 'a phrase of a.png has no text' in done.stderr

"""Predictions of phrases, written in a run and scored again."""
import json
import sys

import numpy as np
import pytest
from mmengine.evaluator import Evaluator

from mmcontrast.apis.analysis.score_grounding import score_grounding, score_table
from mmcontrast.errors import UserValueError
from mmcontrast.evaluation.calibration_file import Calibration, write_calibration
from mmcontrast.evaluation.grounding import BENCHMARKS
from mmcontrast.evaluation.grounding.dump import read_dump
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.grounding_samples import evaluated, phrase, random_phrases
from tests.helpers.processes import ROOT, call_tool, run_python

TOOL = ROOT / 'tools/analysis/score_grounding.py'
SEVERAL = tuple(name for name in BENCHMARKS if name != 'REC')


def dump(path, samples, **arguments):
    assert evaluated('DumpGrounding', samples, out_file=str(path), **arguments) == {}
    return path


def dump_on_rank(rank: int, ranks: int, path: str, count: int) -> None:
    samples = random_phrases(count)
    mine = (samples + samples[:-count % ranks])[rank::ranks]
    evaluator = Evaluator([dict(type='mmcontrast.DumpGrounding', out_file=path)])
    evaluator.dataset_meta = {}
    evaluator.process(mine, {})
    evaluator.evaluate(count)


def test_a_file_scores_as_the_run_did(tmp_path):
    """Exactly: boxes and scores are written with all their digits."""
    samples = random_phrases(23)
    path = dump(tmp_path / 'predictions.jsonl', samples)
    thresholds = [0.45, 0.7, 0.8]
    run = {}
    for name in SEVERAL:
        arguments = {} if name == 'RES' else dict(score_thr=thresholds)
        run |= evaluated(f'{name}Metric', samples, **arguments)
    assert score_grounding(path, SEVERAL, thresholds, progress=False) == run


def test_single_targets_score_as_in_the_run(tmp_path):
    samples = [sample for sample in random_phrases(23)
               if len(sample['gt_instances']['bboxes']) == 1]
    path = dump(tmp_path / 'predictions.jsonl', samples, masks=False)
    assert score_grounding(path, ['REC'], progress=False) == evaluated(
        'RECMetric', samples)
    with pytest.raises(UserValueError, match='line 1 has no mask. Dump with masks=T'):
        score_grounding(path, ['RES'], progress=False)


def test_two_ranks_write_the_file_of_one(tmp_path):
    alone, together = tmp_path / 'alone.jsonl', tmp_path / 'together.jsonl'
    dump_on_rank(0, 1, str(alone), 23)
    on_ranks(2, dump_on_rank, 2, str(together), 23)
    assert together.read_text() == alone.read_text()
    assert len(alone.read_text().splitlines()) == 23


def test_options_reach_the_metrics_that_take_them(tmp_path):
    mask, original = np.eye(4), np.ones((3, 5))
    sample = phrase([(0, 0, 20, 10)], [0.6], [(0, 0, 20, 10)], mask, mask,
                    exists=0.4, pred_mask_original=original,
                    gt_mask_original=np.zeros((3, 5)))
    path = dump(tmp_path / 'predictions.jsonl', [sample])

    def scores(**options):
        return score_grounding(path, ['GREC', 'GRES'], progress=False, **options)

    assert scores()['GREC/T_acc'] == 0
    at_half = scores(score_thr=0.5)
    assert at_half['GREC/T_acc'] == at_half['GRES/gIoU'] == 100
    assert scores(score_thr=0.5, resolution='original')['GRES/gIoU'] == 0
    file = tmp_path / 'calibration.json'
    write_calibration(Calibration(score_thr=0.1, exists_thr=0.5), file)
    assert scores(calibration=str(file))['GREC/T_acc'] == 0
    with pytest.raises(UserValueError, match="match='iou': none of RES takes"):
        score_grounding(path, ['RES'], match='iou', progress=False)


def test_plain_iou_can_be_asked_for(tmp_path):
    # IoU 83^2 / (2 * 100^2 - 83^2) = 0.525; 578 of 117^2 pixels more: GIoU 0.483.
    sample = phrase([(0, 0, 100, 100)], [0.9], [(17, 17, 117, 117)])
    path = dump(tmp_path / 'predictions.jsonl', [sample], masks=False)
    for match, score in dict(giou=0, iou=100).items():
        found = score_grounding(path, ['GREC'], match=match, progress=False)
        assert found['GREC/F1score'] == score


def test_a_dump_keeps_what_was_known_of_a_phrase(tmp_path):
    sample = phrase([(0, 0, 1, 1)], [0.5], img_path='caf\udce9.jpg', group_id='a',
                    sentence_id=np.int64(3), mask=[[1, 0]], true_mask=[[0, 1]])
    path = dump(tmp_path / 'deep' / 'predictions.jsonl', [sample])
    row = json.loads(path.read_text())
    assert row['exists'] is None and row['truth']['boxes'] == []
    assert row['mask'] == dict(size=[1, 2], counts='011')
    assert row['mask_original'] is None
    read, = read_dump(path, ['input'])
    assert read['pred_mask'].tolist() == [[True, False]]
    assert (read['img_path'], read['group_id'], read['sentence_id']) == (
        'caf\udce9.jpg', 'a', 3)


@pytest.mark.parametrize('change, problem', [
    ('not json', 'line 2 is not JSON'),
    ('[1, 2]', r'line 2 has no boxes, scores and truth, only \[1, 2\]'),
    (dict(scores=None), 'scores must be a list of 1 numbers, one a box, got None'),
    (dict(scores=['high']), "a score must be a number, got 'high'"),
    (dict(boxes=[[1, 2]]), r'boxes must be a list of four numbers each.*\[\[1, 2\]\]'),
    (dict(truth=None), 'line 2 has no labels'),
    (dict(exists='yes'), "exists must be a number, got 'yes'"),
    (dict(mask=dict(size=[2, 2], counts='05')), 'mask is no mask in COCO'),
    (dict(mask=dict(size=[2], counts='04')), 'mask is no mask in COCO'),
    (dict(mask='all'), 'mask is no mask in COCO'),
    (dict(mask=dict(size=[1, 1], counts=[0, 1])), r'predicted mask has \(1, 1\)'),
    (dict(mask=None), 'line 2 has no mask')])
def test_a_damaged_line_is_named(tmp_path, change, problem):
    path = dump(tmp_path / 'predictions.jsonl', [
        phrase([(0, 0, 1, 1)], [0.5], mask=np.eye(2), true_mask=np.eye(2))])
    good = path.read_text()
    if not isinstance(change, str):
        change = json.dumps(json.loads(good) | change)
    path.write_text(good + change)
    with pytest.raises(UserValueError, match=problem):
        score_grounding(path, ['GRES'], progress=False)


def test_wrong_files_and_metrics_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='No file .*gone.*DumpGrounding'):
        score_grounding(tmp_path / 'gone', ['GRES'], progress=False)
    empty = tmp_path / 'empty.jsonl'
    empty.write_text('\n')
    with pytest.raises(UserValueError, match='empty.jsonl is empty'):
        score_grounding(empty, ['GRES'], progress=False)
    with pytest.raises(UserValueError, match="'GRIS': did you mean 'GRES'"):
        score_grounding(empty, ['GRIS'], progress=False)


def test_the_tool_prints_a_column_a_threshold(tmp_path):
    path = dump(tmp_path / 'predictions.jsonl', random_phrases(6))
    out = tmp_path / 'scores.json'
    done = call_tool(TOOL, path, '--metrics', 'GREC', 'RES', '--score-thr', 0.5, 0.7,
                     '--out', out)
    assert done.returncode == 0, done.stderr
    scores = json.loads(out.read_text())
    printed = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert printed['score'] == ['above', '0.5', '0.7']
    assert printed['GREC/T_acc'] == [
        f'{scores[f"GREC/T_acc_{thr}"]:.2f}' for thr in (0.5, 0.7)]
    assert printed['RES/mIoU'] == [f'{scores["RES/mIoU"]:.2f}']
    assert 'GREC/T_acc' in score_table({'GREC/T_acc': 1.0})


def test_the_tool_starts_and_names_a_missing_file(tmp_path):
    done = run_python([sys.executable, TOOL, tmp_path / 'gone', '--metrics', 'GREC'],
                      capture_output=True)
    assert done.returncode == 1 and 'No file' in done.stderr


def test_scores_do_not_overwrite_what_is_read(tmp_path):
    path = dump(tmp_path / 'predictions.jsonl', random_phrases(4))
    write_calibration(Calibration(0.5), tmp_path / 'calibration.json')
    for name in 'predictions.jsonl', 'calibration.json':
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UserValueError, match=f'{name} would overwrite'):
            score_grounding(path, ['GREC'], out=str(tmp_path / name), progress=False,
                            calibration=str(tmp_path / 'calibration.json'))
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize('change, what', [
    (dict(boxes=[[10 ** 400] * 4]), 'boxes must be a list of four numbers'),
    (dict(exists=10 ** 400), 'exists must be a number'),
    (dict(group_id=[1]), 'group_id must be a number or a text, got .1.')])
def test_impossible_values_of_a_dump_are_named(tmp_path, change, what):
    path = dump(tmp_path / 'predictions.jsonl', random_phrases(4))
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | change))
    with pytest.raises(UserValueError, match=f'predictions.jsonl, line 1: {what}'):
        score_grounding(path, ['RRefCOCO'], progress=False)


def test_a_number_of_too_many_digits_is_no_json(tmp_path):
    path = tmp_path / 'predictions.jsonl'
    path.write_text('{"boxes": ' + '9' * 5000 + '}')
    with pytest.raises(UserValueError, match='line 1 is not JSON'):
        score_grounding(path, ['GREC'], progress=False)

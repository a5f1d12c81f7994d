"""Thresholds of real models, chosen on labeled images."""
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')
from mmcontrast.apis.analysis.calibrate import calibrate, score_labeled
from mmcontrast.apis.inferencers import open_inferencer
from mmcontrast.datasets.labeled_phrases import read_labeled_phrases
from mmcontrast.errors import DataError, UserValueError
from mmcontrast.evaluation.calibration import choose_thresholds
from mmcontrast.evaluation.calibration_file import (
    Calibration,
    read_calibration,
    write_calibration,
)
from tests.helpers import tiny_dito
from tests.helpers.color_grounder import COLORS, save, scene, write_files
from tests.helpers.processes import ROOT, call_tool, run_python
from tests.tools.test_infer import FCN, RETINANET, write

pytestmark = pytest.mark.usefixtures('scope_as_it_was')
TOOL = ROOT / 'tools/analysis/calibrate.py'
CLASSES = tiny_dito.CLASSES
# So that a class has a box in every image.
MANY = {'model.test_cfg.rcnn.max_per_img': 300}


@pytest.fixture(scope='module')
def dito(tmp_path_factory):
    folder = tmp_path_factory.mktemp('calibrate')
    return folder, *tiny_dito.write_files(folder)


@pytest.fixture(scope='module')
def photos(dito):
    folder = dito[0] / 'photos'
    folder.mkdir()
    for seed in range(20):
        pixels = tiny_dito.image(seed=seed).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f'{seed:02}.png')
    return folder


def labels(folder, classes=CLASSES, count=20, name='labels.json'):
    """A COCO file in which image i shows class i % 3, where the bright square is."""
    content = dict(
        images=[dict(id=i, file_name=f'{i:02}.png', width=64, height=64)
                for i in range(count)],
        categories=[dict(id=k, name=text) for k, text in enumerate(classes)],
        annotations=[dict(id=i, image_id=i, category_id=i % len(classes),
                          bbox=[8, 8, 32, 32]) for i in range(count)])
    path = folder / name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope='module')
def report(dito, photos):
    folder, config, checkpoint, _ = dito
    return calibrate(config, checkpoint, labels(folder), photos,
                     folder / 'new' / 'calibration.json', recall=0.9, workers=0,
                     cfg_options=MANY, progress=False)


def test_the_file_says_what_the_model_does_at_its_threshold(dito, photos, report):
    chosen = read_calibration(report.file)
    assert chosen == report.calibration and chosen.exists_thr is None
    assert (chosen.num_present, chosen.num_absent) == (20, 40)
    assert chosen.model == 'tiny.py, tiny.pth'
    # Asked anew, without the code of the calibration.
    infer = open_inferencer(*dito[1:3], cfg_options=MANY)
    found = infer(str(photos), classes=list(CLASSES), score_thr=0.0, workers=0,
                  progress=False)
    kept = np.array([[any(result.scores[result.labels == k] > chosen.score_thr)
                      for k in range(3)] for result in found])
    present = np.arange(20)[:, None] % 3 == np.arange(3)
    assert kept[present].mean() == chosen.recall >= 0.9
    assert kept[~present].mean() == chosen.false_positive_rate
    assert report.expected_recall == pytest.approx(19 / 21)
    low, high = report.recall_interval
    assert low < chosen.recall <= high <= 1


def test_the_plot_is_drawn_beside_the_file(report):
    assert report.plot == report.file.with_suffix('.png')
    with Image.open(report.plot) as image:
        assert image.size == (1210, 550)


def test_a_file_of_phrases_calibrates_a_detector_too(dito, photos):
    """Lines of ODVG: nothing is absent, so that only the recall is known."""
    folder, config, checkpoint, _ = dito
    path = folder / 'phrases.jsonl'
    path.write_text('\n'.join(json.dumps(dict(
        filename=f'{i:02}.png', width=64, height=64, grounding=dict(
            caption='', regions=[dict(bbox=[8, 8, 40, 40], phrase=f'a {color} thing')]))
    ) for i, color in enumerate(['red', 'gray'] * 10)))
    done = call_tool(TOOL, config, checkpoint, path, '--images', photos, '--workers', 0,
                     '--out', folder / 'phrases.json', '--recall', 1)
    assert done.returncode == 0, done.stderr
    assert '20 images, 20 phrases that are there and 0 that are not.' in done.stdout
    assert '100.0 % of the phrases that are there keep a box (95 % interval 84 to 100' \
        in done.stdout
    assert 'no phrase is absent' in done.stdout
    assert read_calibration(folder / 'phrases.json').false_positive_rate is None


def test_a_detector_of_fixed_classes_takes_its_own(tmp_path, photos):
    config, checkpoint = write(tmp_path, 'retinanet', RETINANET)
    settings = dict(images=photos, out=tmp_path / 'c.json', workers=0, progress=False)
    found = calibrate(config, checkpoint, labels(tmp_path, ('Dog', 'cat')), **settings)
    assert found.calibration.num_absent == 20
    with pytest.raises(UserValueError, match="knows no class 'brid': did you mean"):
        calibrate(config, checkpoint, labels(tmp_path, ('dog', 'brid')), **settings)


def test_too_few_images_are_refused(dito, photos):
    folder, config, checkpoint, _ = dito
    path = labels(folder, count=19, name='few.json')
    done = run_python([sys.executable, TOOL, config, checkpoint, path, '--images',
                       photos, '--out', folder / 'few.out.json'], capture_output=True)
    assert done.returncode == 1
    assert 'has 19 images with phrases' in done.stderr and 'Label more' in done.stderr
    assert not (folder / 'few.out.json').exists()


def test_what_cannot_be_calibrated_is_said(dito, photos, tmp_path):
    folder, config, checkpoint, _ = dito
    path = labels(folder, name='again.json')
    settings = dict(workers=0, progress=False)
    with pytest.raises(UserValueError, match='would overwrite'):
        calibrate(config, checkpoint, path, photos, path, **settings)
    segmentor = write(tmp_path, 'fcn', FCN)
    with pytest.raises(UserValueError, match='gives no scores for texts'):
        calibrate(*segmentor, path, photos, tmp_path / 'c.json', **settings)
    for file in photos.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / '07.png').write_bytes(b'nothing')
    with pytest.raises(DataError, match='1 of 20 images cannot be used.*07.png'):
        calibrate(config, checkpoint, path, tmp_path, tmp_path / 'c.json', **settings)
    assert not (tmp_path / 'c.json').exists()


@pytest.fixture(scope='module')
def colors(tmp_path_factory):
    """24 images of a red or a blue box, labeled with three colors; none is green."""
    folder = tmp_path_factory.mktemp('colors')
    boxes = [((20 + i, 30, 60 + i, 60), ('red', 'blue')[i % 2]) for i in range(24)]
    for i, (box, color) in enumerate(boxes):
        save(folder / 'photos', f'{i:02}.png', scene(**{color: box}))
    content = dict(
        images=[dict(id=i, file_name=f'{i:02}.png', width=128, height=96)
                for i in range(24)],
        categories=[dict(id=k, name=name) for k, name in enumerate(COLORS)],
        annotations=[dict(id=i, image_id=i, category_id=list(COLORS).index(color),
                          bbox=[20 + i, 30, 40, 30])
                     for i, (_, color) in enumerate(boxes)])
    (folder / 'labels.json').write_text(json.dumps(content))
    return folder


def test_a_grounding_model_is_calibrated_by_its_proposals(colors, tmp_path):
    """What is there scores 0.9, what is not 0.4 for the whole image."""
    config, checkpoint = write_files(tmp_path)
    out = tmp_path / 'calibration.json'
    report = calibrate(config, checkpoint, colors / 'labels.json', colors / 'photos',
                       out, workers=0, progress=False)
    chosen = report.calibration
    assert (chosen.score_thr, chosen.exists_thr) == (pytest.approx(0.65), None)
    assert (chosen.recall, chosen.false_positive_rate) == (1, 0)
    assert (chosen.num_present, chosen.num_absent) == (24, 48)
    assert report.scored.box_right.sum() == 48      # with that of 0.8
    infer = open_inferencer(config, checkpoint)
    result = infer(str(colors / 'photos/01.png'), ['red', 'blue'], calibration=out)
    assert [each.exists for each in result.phrases] == [False, True]


def test_existence_is_calibrated_where_scores_say_little(colors, tmp_path):
    """With a recall of all, boxes of 0.1 too; existence alone tells them apart."""
    config, checkpoint = write_files(tmp_path)
    inferencer = open_inferencer(config, checkpoint)
    labeled = read_labeled_phrases(colors / 'labels.json', colors / 'photos')
    scored = score_labeled(inferencer, labeled, workers=0, progress=False)
    same = replace(scored, best=np.full(len(scored.best), 0.5))
    score_thr, exists_thr = choose_thresholds(same, 1.0)
    assert score_thr < 0.5 and 0.05 < exists_thr < 0.95
    assert (same.kept(score_thr, exists_thr) == scored.present).all()


def test_a_calibrated_detector_leaves_out_what_lies_at_its_threshold(dito, tmp_path):
    infer = open_inferencer(*dito[1:3])
    photo = dito[3]
    all_found = infer(photo, list(CLASSES), score_thr=0.0)
    at = float(all_found.scores[3])
    path = tmp_path / 'calibration.json'
    write_calibration(Calibration(score_thr=at), path)
    found = infer(photo, list(CLASSES), calibration=path)
    assert found.scores.tolist() == [s for s in all_found.scores.tolist() if s > at]
    with pytest.raises(UserValueError, match='give one of the two'):
        infer(photo, list(CLASSES), calibration=path, score_thr=0.5)


@pytest.mark.parametrize('options, what', [
    (dict(out='a.png'), 'out and plot are both'),
    (dict(plot='a.json'), 'out and plot are both'),
    (dict(plot='a.xyz'), 'plot must be an image file'),
    (dict(recall=float('nan')), 'recall must lie in')])
def test_wrong_outputs_are_named_before_the_model_runs(tmp_path, options, what):
    options = {key: value if key == 'recall' else tmp_path / value
               for key, value in options.items()}
    with pytest.raises(UserValueError, match=what):
        calibrate('none.py', 'none.pth', tmp_path / 'none.json', tmp_path, **dict(
            dict(out=tmp_path / 'a.json'), **options))
    assert not list(tmp_path.iterdir())


def test_labels_of_absent_phrases_alone_are_named_before_the_model_runs(tmp_path):
    for i in range(20):
        save(tmp_path, f'{i:02}.png', scene(red=(20, 30, 60, 60)))
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i:02}.png', width=128, height=96)
                for i in range(20)], annotations=[],
        refs=[dict(image_id=i, ann_id=[], sentences=['a dog']) for i in range(20)])))
    with pytest.raises(UserValueError, match='labels.json: no phrase is about'):
        calibrate('none.py', 'none.pth', path, tmp_path, tmp_path / 'new.json')

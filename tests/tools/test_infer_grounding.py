"""The inferencer of phrases and tools/infer.py, on a model whose answers are known."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet')
from pycocotools.coco import COCO  # noqa: E402

from mmcontrast.apis import infer as run_tool  # noqa: E402
from mmcontrast.apis.inferencers import (  # noqa: E402
    GroundedImage,
    GroundingInferencer,
    open_inferencer,
)
from mmcontrast.apis.inferencers.grounding_results import GroundingRule  # noqa: E402
from mmcontrast.errors import UserValueError  # noqa: E402
from mmcontrast.evaluation.calibration_file import (  # noqa: E402
    Calibration,
    write_calibration,
)
from mmcontrast.structures import PhrasePrediction  # noqa: E402
from tests.helpers.color_grounder import save, scene, write_files  # noqa: E402

TOOLS = Path(__file__).parents[2] / 'tools'
# Edges that the input of 64 x 64 can tell: 2 columns and 1.5 rows of the image each.
RED, BLUE = (20, 30, 60, 60), (80, 0, 120, 30)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp('colors')
    photos = root / 'photos'
    save(photos, 'both.png', scene(red=RED, blue=BLUE))
    save(photos, 'inner/blue.png', scene(blue=BLUE))
    return dict(root=root, photos=str(photos), both=str(photos / 'both.png'),
                model=write_files(root))


@pytest.fixture(scope='module')
def infer(files):
    return open_inferencer(*files['model'], 'cpu')


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import infer as tool
    yield tool.main
    sys.modules.pop('infer')


def test_boxes_mask_and_existence_are_those_of_the_image(files, infer):
    assert type(infer) is GroundingInferencer
    result = infer(files['both'], phrases=['the red box', 'a green box'])
    red, green = result.phrases
    assert result.image_size == (96, 128) and result.name == 'both.png'
    assert red.exists and red.exists_prob == pytest.approx(0.95)
    # The second box ends a column of the input, 2 pixels, further right.
    assert red.boxes_xyxy.tolist() == [[20, 30, 60, 60], [20, 30, 62, 60]]
    assert red.scores.tolist() == pytest.approx([0.9, 0.8])
    expected = np.zeros((96, 128), bool)
    expected[30:60, 20:60] = True
    assert (red.mask == expected).all()
    assert not green.exists and green.exists_prob == pytest.approx(0.05)
    assert green.boxes_xyxy.shape == (0, 4) and not green.mask.any()
    assert green.proposal_scores.tolist() == pytest.approx([0.4, 0.1, 0.1, 0.1, 0.05])
    assert result.tally() == {'the red box': 2, 'a green box': 0}


def test_several_phrases_give_what_single_calls_give(files, infer):
    phrases = ['the red box', 'the blue box', 'nothing']
    together = infer(files['both'], phrases).phrases
    for phrase, one in zip(phrases, together, strict=True):
        alone, = infer(files['both'], phrase).phrases
        assert alone.phrase == one.phrase == phrase
        assert (alone.proposals_xyxy == one.proposals_xyxy).all()
        assert (alone.mask == one.mask).all() and alone.exists == one.exists


def test_a_batch_of_images_is_asked_once_and_other_sizes_share_it(files, infer):
    before = infer.model.num_calls
    results = infer(files['photos'], 'the blue box', batch_size=4, progress=False)
    assert infer.model.num_calls == before + 1
    assert [result.name for result in results] == ['both.png', 'inner/blue.png']
    for result in results:
        assert result.phrases[0].boxes_xyxy[0].tolist() == list(BLUE)


def test_all_kinds_of_images_are_taken(files, infer, tmp_path):
    image = scene(red=RED)
    gray = save(tmp_path, 'gray.png', scene()[..., 0])
    for one in (image[..., ::-1].copy(), Image.fromarray(image)):
        assert infer(one, 'red').phrases[0].boxes_xyxy[0].tolist() == list(RED)
    assert not infer(gray, 'red').phrases[0].exists


def test_a_rotated_photo_is_grounded_upright(infer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    # The file holds the image turned by 90 degrees to the left.
    path = save(tmp_path, 'turned.png', np.rot90(scene(red=RED)).copy(), exif=exif)
    result = infer(path, 'red')
    assert result.image_size == (96, 128)
    assert result.phrases[0].boxes_xyxy[0].tolist() == list(RED)


def test_thresholds_and_numbers_limit_the_boxes(files, infer):
    def boxes(**options):
        return len(infer(files['both'], 'red', **options).phrases[0].scores)
    assert boxes() == 2 and boxes(score_thr=0.85) == 1 and boxes(score_thr=0.3) == 3
    assert boxes(score_thr=0, top_k=1) == 1
    # IoU of the two boxes of the color: 40 / 42.
    assert boxes(nms_iou=0.9) == 1 and boxes(nms_iou=0.96) == 2


def test_a_score_at_the_threshold_is_no_box():
    # 0.5 is the same in float32 and float64; float32(0.8) is above 0.8.
    one = PhrasePrediction(torch.tensor([[0, 0, 1., 1]] * 2), torch.tensor([0.5, 0.8]),
                           None, torch.ones(4, 4))
    assert not GroundingRule(0.9)('x', one, 8, 8).exists
    assert len(GroundingRule(0.5)('x', one, 8, 8).scores) == 1
    assert len(GroundingRule(0.8)('x', one, 8, 8).scores) == 1


@pytest.mark.parametrize(('exists', 'exists_thr', 'found'), [
    (0.5, 0.5, True), (0.25, 0.5, False), (None, 0.5, True), (0.0, None, True)])
def test_the_existence_decides_where_model_and_calibration_have_one(
        exists, exists_thr, found):
    one = PhrasePrediction(
        torch.tensor([[0, 0, 1., 1]]), torch.tensor([0.9]),
        None if exists is None else torch.tensor(exists), torch.ones(4, 4))
    result = GroundingRule(0.7, exists_thr)('x', one, 8, 8)
    assert result.exists is found and len(result.scores) == found
    assert result.mask.all() == found and result.exists_prob == exists
    assert len(result.proposal_scores) == 1


def test_a_calibration_file_sets_both_thresholds(files, infer, tmp_path):
    path = tmp_path / 'found.json'
    write_calibration(Calibration(0.85, 0.9), path)
    found, = infer(files['both'], 'red', calibration=path).phrases
    assert found.exists and found.scores.tolist() == pytest.approx([0.9])
    write_calibration(Calibration(0.3, 0.96), path)
    found, = infer(files['both'], 'red', calibration=path).phrases
    assert not found.exists
    with pytest.raises(UserValueError, match='calibration holds a score_thr of its'):
        infer(files['both'], 'red', calibration=path, score_thr=0.5)
    with pytest.raises(FileNotFoundError, match='No calibration at .*absent.json'):
        infer(files['both'], 'red', calibration=tmp_path / 'absent.json')


def test_a_model_without_existence_decides_by_the_scores(tmp_path):
    infer = open_inferencer(*write_files(tmp_path, with_existence=False), 'cpu')
    red, green = infer(Image.fromarray(scene(red=RED)), ['red', 'green']).phrases
    assert red.exists and red.exists_prob is None and not green.exists


def test_thresholds_of_the_config_are_used(tmp_path):
    paths = write_files(tmp_path, test_cfg=dict(score_thr=0.85, mask_thr=0.99))
    infer = open_inferencer(*paths, 'cpu')
    found, = infer(Image.fromarray(scene(red=RED)), 'red').phrases
    # The mask has a probability of sigmoid(4) = 0.982.
    assert infer.score_thr == 0.85 and len(found.scores) == 1 and not found.mask.any()


def test_the_coco_file_has_the_phrases_as_categories(files, infer, tmp_path):
    listed = tmp_path / 'phrases.txt'
    listed.write_text('# what to look for\nthe blue box\nthe red box\n\n')
    results = infer(files['photos'], listed, out=tmp_path / 'out', progress=False)
    dataset = COCO(tmp_path / 'out/annotations.json')
    assert [c['name'] for c in dataset.loadCats([1, 2])] == ['the blue box',
                                                             'the red box']
    assert [i['file_name'] for i in dataset.loadImgs([1, 2])] == ['both.png',
                                                                  'inner/blue.png']
    rows = dataset.loadAnns(dataset.getAnnIds(imgIds=[1], catIds=[2]))
    assert [row['bbox'] for row in rows] == [[20, 30, 40, 30], [20, 30, 42, 30]]
    assert [row['score'] for row in rows] == [0.9, 0.8]
    assert (dataset.annToMask(rows[0]) == results[0].phrases[1].mask).all()
    assert rows[0]['area'] == 40 * 30
    assert dataset.getAnnIds(imgIds=[2], catIds=[2]) == []
    content = json.loads((tmp_path / 'out/annotations.json').read_text())
    said = [(row['image_id'], row['category_id'], row['exists'], row['exists_prob'],
             row['area']) for row in content['phrases']]
    assert said == [(1, 1, True, 0.95, 1200), (1, 2, True, 0.95, 1200),
                    (2, 1, True, 0.95, 1200), (2, 2, False, 0.05, 0)]
    assert len(dataset.loadRes(content['annotations']).getAnnIds()) == 6
    assert (tmp_path / 'out/inner/blue.jpg').is_file()
    assert not (tmp_path / 'out/proposals').exists()


def test_a_box_has_the_part_of_the_mask_that_lies_in_it():
    # Two boxes of 4 x 8 beside each other; the mask covers rows 2 to 5 of both.
    logits = torch.full((8, 8), -4.0)
    logits[2:6] = 4
    one = PhrasePrediction(torch.tensor([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]),
                           torch.tensor([0.9, 0.8]), None, logits)
    result = GroundedImage('a.png', (8, 8), (GroundingRule(0.7)('x', one, 8, 8),) * 2)
    rows = result.to_coco(image_id=7)
    # The phrase was given twice: it counts once.
    assert [row['area'] for row in rows] == [16, 16]
    assert {row['image_id'] for row in rows} == {7}
    whole, = result.phrase_rows()
    assert whole['area'] == 32 and whole['best_score'] == 0.9


def test_a_folder_called_proposals_is_kept_apart(infer, tmp_path):
    for name in ('proposals/a.png', 'a.png'):
        save(tmp_path / 'photos', name, scene(red=RED))
    infer(str(tmp_path / 'photos'), 'red', out=tmp_path / 'out', proposals=True,
          progress=False)
    written = {str(path.relative_to(tmp_path / 'out'))
               for path in (tmp_path / 'out').rglob('*.jpg')}
    assert written == {'a.jpg', 'proposals/a.jpg', 'in_proposals/a.jpg',
                       'proposals/in_proposals/a.jpg'}


@pytest.mark.parametrize(('mode', 'size'), [
    ('RGBA', (1, 1)), ('P', (3, 200)), ('I;16', (50, 40)), ('1', (9, 9))])
def test_unusual_images_are_grounded_and_drawn(infer, tmp_path, mode, size):
    path = tmp_path / 'odd.png'
    Image.new(mode, size).save(path)
    phrases = ['red', 'a box\nof \U0001f380 und Tür']
    result = infer(path, phrases, out=tmp_path / 'x.png')
    assert result.phrases[0].mask.shape == size[::-1]
    assert not result.phrases[1].exists and (tmp_path / 'x.png').is_file()


def test_processes_that_read_images_change_nothing(infer, tmp_path):
    for i in range(8):
        save(tmp_path, f'{i}.png', scene(64 + 8 * i, red=(8, 30, 40, 60)))
    one, two = (infer(str(tmp_path), 'red', workers=workers, batch_size=2,
                      progress=False) for workers in (0, 2))
    assert [each.name for each in one] == [each.name for each in two]
    for first, second in zip(one, two, strict=True):
        assert (first.phrases[0].mask == second.phrases[0].mask).all()


def test_an_image_that_cannot_be_read_costs_no_other(files, infer, tmp_path):
    save(tmp_path, 'good.png', scene(red=RED))
    (tmp_path / 'bad.png').write_bytes(b'no image')
    with pytest.warns(UserWarning, match=r'1 of 2 images could not be used.*\n.*bad'):
        result, = infer(str(tmp_path), 'red', progress=False, workers=0)
    assert result.name == 'good.png'


@pytest.mark.parametrize(('options', 'message'), [
    (dict(phrases=None), 'ColorGrounder grounds phrases: give phrases, such as'),
    (dict(phrases=[]), 'phrases: expected at least one phrase, such as'),
    (dict(phrases=' ; '), 'phrases: expected at least one phrase'),
    (dict(phrases=['a dog', ' ']), "phrases: phrase 2 of 2 must be text .* got ' '"),
    (dict(phrases=['a dog', 3]), 'phrases: phrase 2 of 2 must be text .* got 3'),
    (dict(phrases=7), 'phrases: expected phrases, .* got int'),
    (dict(phrases='a dog;?!'), r"the phrase '\?!' is empty"),
    (dict(top_k=0), 'top_k must be a whole number, 1 or more, got 0'),
    (dict(batch_size=0.5), 'batch_size must be a whole number, 1 or more, got 0.5'),
    (dict(score_thr=1.5), r'score_thr must lie in \[0, 1\], got 1.5'),
    (dict(nms_iou=float('nan')), r'nms_iou must lie in \[0, 1\], got nan'),
])
def test_what_cannot_be_asked_is_named(files, infer, options, message):
    with pytest.raises(UserValueError, match=message):
        infer(files['both'], **dict(phrases='red') | options)


def test_no_file_that_is_read_is_overwritten(files, infer, tmp_path):
    path = save(tmp_path, 'one.jpg', scene(red=RED))
    with pytest.raises(UserValueError, match='would overwrite a file that is read'):
        infer([path], 'red', out=tmp_path)
    with pytest.raises(UserValueError, match='would overwrite a file that is read'):
        infer(path, 'red', out=path)
    with pytest.raises(ValueError, match='is one image file, but there are 2 images'):
        infer(files['photos'], 'red', out=tmp_path / 'one.png')


def test_the_command_line_grounds_phrases_as_it_says(main, files, tmp_path, capsys):
    main([*files['model'], files['photos'], '--phrases', 'the red box;a green box',
          '--out', str(tmp_path), '--device', 'cpu', '--top-k', '1', '--nms-iou', '0.9',
          '--score-thr', '0.5', '--proposals', '--workers', '0'])
    shown = capsys.readouterr().out
    assert 'boxes of 2 images:\n    1  the red box\n    0  a green box\n' in shown
    assert (tmp_path / 'proposals/inner/blue.jpg').is_file()
    write_calibration(Calibration(0.95), tmp_path / 'strict.json')
    main([*files['model'], files['both'], '--phrases', 'red', '--device', 'cpu',
          '--calibration', str(tmp_path / 'strict.json'), '--out',
          str(tmp_path / 'one.png')])
    assert '    0  red\n' in capsys.readouterr().out
    assert Image.open(tmp_path / 'one.png').width > 300


def test_options_of_other_models_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match='classes: ColorGrounder takes no classes'):
        run_tool(*files['model'], [files['both']], str(tmp_path), 'sky', 'cpu',
                 phrases='red')
    with pytest.raises(ValueError, match='ColorGrounder grounds phrases: give phrases'):
        run_tool(*files['model'], [files['both']], str(tmp_path), device='cpu')


def test_annotations_do_not_overwrite_what_is_read(files, infer, tmp_path):
    path = tmp_path / 'annotations.json'
    path.write_text('["the red box"]')
    with pytest.raises(UserValueError, match='annotations.json would overwrite'):
        infer([files['both']], phrases=str(path), out=tmp_path, progress=False)
    assert path.read_text() == '["the red box"]'
    write_calibration(Calibration(0.5), path)
    before = path.read_text()
    with pytest.raises(UserValueError, match='annotations.json would overwrite'):
        infer([files['both']], phrases='red', calibration=str(path), out=tmp_path,
              progress=False)
    assert path.read_text() == before


def test_a_phrase_may_begin_with_a_tilde(files, infer):
    found, = infer(files['both'], phrases='~nobody red', progress=False).phrases
    assert found.phrase == '~nobody red' and found.exists


@pytest.mark.parametrize('text', ['5', '"red"', '[1, 2]', '[["red"]]'])
def test_json_without_phrases_is_named(files, infer, tmp_path, text):
    path = tmp_path / 'phrases.json'
    path.write_text(text)
    with pytest.raises(UserValueError, match='phrases.json holds no phrases'):
        infer(files['both'], phrases=str(path), progress=False)

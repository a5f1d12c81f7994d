"""The inferencer of phrases with a PropVG of config and checkpoint."""
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('sentencepiece')
from mmdet.structures import DetDataSample  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402

from mmcontrast.apis import infer as run_tool  # noqa: E402
from mmcontrast.apis.inferencers import GroundingInferencer, open_inferencer  # noqa: E402
from mmcontrast.errors import UserValueError  # noqa: E402
from mmcontrast.evaluation.calibration_file import (  # noqa: E402
    Calibration,
    write_calibration,
)
from tests.helpers.tiny_propvg import PHRASES, SIZE, image, write_files  # noqa: E402


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp('propvg')
    photos = root / 'photos'
    photos.mkdir()
    for name, size in {'a.png': (128, 96), 'b.png': (50, 70)}.items():
        Image.fromarray(image(*size)).save(photos / name)
    return dict(root=root, photos=str(photos), a=str(photos / 'a.png'),
                model=write_files(root))


@pytest.fixture(scope='module')
def infer(files):
    return open_inferencer(*files['model'], 'cpu')


def test_results_are_what_the_model_predicts(files, infer):
    assert type(infer) is GroundingInferencer
    found, = infer(files['a'], PHRASES[0], score_thr=0).phrases
    inputs = torch.from_numpy(np.ascontiguousarray(cv2.resize(
        image()[..., ::-1], (SIZE, SIZE)).transpose(2, 0, 1)))
    sample = DetDataSample(metainfo=dict(
        text=PHRASES[0], ori_shape=(96, 128), img_shape=(SIZE, SIZE)))
    infer.model.test_cfg['rescale'] = True
    with torch.no_grad():
        predicted, = infer.model.test_step(dict(inputs=[inputs], data_samples=[sample]))
    infer.model.test_cfg['rescale'] = False
    np.testing.assert_allclose(found.boxes_xyxy, predicted.pred_instances.bboxes,
                               atol=1e-3)
    np.testing.assert_allclose(found.scores, predicted.pred_instances.scores, atol=1e-5)
    assert (found.mask == predicted.pred_mask_original.numpy()).all()
    assert found.exists_prob == pytest.approx(float(predicted.pred_exists), abs=1e-5)


def test_several_phrases_give_what_single_calls_give(files, infer):
    together = infer(files['a'], PHRASES, score_thr=0, batch_size=3).phrases
    for phrase, one in zip(PHRASES, together, strict=True):
        alone, = infer(files['a'], [phrase], score_thr=0).phrases
        np.testing.assert_allclose(alone.proposals_xyxy, one.proposals_xyxy, atol=1e-3)
        np.testing.assert_allclose(alone.proposal_scores, one.proposal_scores,
                                   atol=1e-5)
        assert (alone.mask != one.mask).mean() < 1e-3
        assert alone.exists_prob == pytest.approx(one.exists_prob, abs=1e-5)


def test_a_folder_and_a_table_of_phrases_give_a_coco_file(files, tmp_path):
    table = files['root'] / 'phrases.csv'
    table.write_text('image,phrase\na.png,the red circle\nb.png,a circle\n'
                     'b.png,"green triangle"\n')
    found = run_tool(*files['model'], [files['photos']], str(tmp_path), device='cpu',
                     phrases=str(table), score_thr=0.0, top_k=2, workers=0,
                     progress=False)
    assert found.unit == 'boxes' and found.count == 2 and found.notes == []
    assert found.totals == {'the red circle': 2, 'a circle': 2, 'green triangle': 2}
    dataset = COCO(tmp_path / 'annotations.json')
    assert [c['name'] for c in dataset.loadCats([1, 2, 3])] == list(found.totals)
    assert len(dataset.getAnnIds(imgIds=[2])) == 4
    for row in dataset.loadAnns(dataset.getAnnIds()):
        size = dataset.loadImgs(row['image_id'])[0]
        assert dataset.annToMask(row).shape == (size['height'], size['width'])
        x, y, width, height = row['bbox']
        assert 0 <= x and x + width <= size['width'] + 0.02
        assert 0 <= y and y + height <= size['height'] + 0.02


def test_a_phrase_is_not_there_by_a_calibrated_threshold(files, infer, tmp_path):
    prob = infer(files['a'], PHRASES[0], score_thr=0).phrases[0].exists_prob
    for exists_thr, is_there in ((prob * 0.99, True), (prob * 1.01, False)):
        write_calibration(Calibration(0.0, exists_thr), tmp_path / 'found.json')
        found, = infer(files['a'], PHRASES[0],
                       calibration=tmp_path / 'found.json').phrases
        assert found.exists is is_there and (len(found.scores) > 0) is is_there


def test_a_head_without_existence_says_nothing_about_it(files, tmp_path):
    paths = write_files(tmp_path, head=dict(with_existence=False))
    found, = open_inferencer(*paths, 'cpu')(files['a'], 'a circle', score_thr=0).phrases
    assert found.exists and found.exists_prob is None


def test_gray_and_turned_images_are_read(files, infer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(image())
    upright.rotate(90, expand=True).save(tmp_path / 'turned.png', exif=exif)
    turned, = infer(tmp_path / 'turned.png', 'a circle', score_thr=0).phrases
    expected, = infer(upright, 'a circle', score_thr=0).phrases
    np.testing.assert_allclose(turned.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
    gray = infer(upright.convert('L'), 'a circle', score_thr=0)
    assert gray.image_size == (96, 128) and gray.phrases[0].mask.shape == (96, 128)


def test_a_phrase_of_punctuation_is_named_before_anything_runs(files, infer):
    with pytest.raises(UserValueError, match=r"phrase '\.\.\.' is empty, or nothing"):
        infer.stream(files['photos'], {'a.png': 'a circle', 'b.png': '...'}).__next__()


def test_a_long_phrase_is_cut_or_refused(files, infer):
    long = 'the red circle ' * 9
    one, other = infer(files['a'], [long, f'{long} again']).phrases
    assert (one.proposal_scores == other.proposal_scores).all()
    strict = open_inferencer(*files['model'], 'cpu',
                             {'model.tokenizer.too_long': 'error'})
    with pytest.raises(UserValueError, match='the limit is max_tokens=12. Shorten it'):
        strict(files['a'], long)


def test_other_models_take_no_phrases(files, tmp_path):
    from tests.helpers.tiny_topnet import write_files as topnet_files
    config, checkpoint, background, cutout = topnet_files(tmp_path)
    message = ('phrases: TopNet takes no phrases; leave it out, or name the config of '
               'a model that grounds phrases, such as')
    with pytest.raises(UserValueError, match=message):
        run_tool(config, checkpoint, [background], str(tmp_path), device='cpu',
                 phrases='a circle')
    with pytest.raises(UserValueError, match='objects: PropVG takes no objects'):
        run_tool(*files['model'], [files['a']], str(tmp_path), device='cpu',
                 phrases='a circle', objects=[cutout])


def test_the_coco_file_says_of_every_phrase_whether_it_exists(files, tmp_path):
    run_tool(*files['model'], [files['a']], str(tmp_path), device='cpu',
             phrases='a circle', workers=0, progress=False, proposals=True)
    content = json.loads((tmp_path / 'annotations.json').read_text())
    assert set(content) == {'images', 'categories', 'annotations', 'phrases'}
    row, = content['phrases']
    assert 0 <= row['exists_prob'] <= 1
    assert row['exists'] == bool(content['annotations'])
    assert (tmp_path / 'proposals/a.jpg').is_file()

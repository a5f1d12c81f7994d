"""Images and texts in, label maps or boxes out; the answers are mmseg's and mmdet's."""
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from tests.helpers import tiny_denseclip as tiny

pytest.importorskip('mmseg')
pytest.importorskip('mmdet')
from mmdet.apis import inference_detector  # noqa: E402
from mmseg.apis import inference_model  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402

from mmcontrast.apis import DenseCLIPInferencer
from mmcontrast.apis.inferencers.results import output_stems
from mmcontrast.registry import MODELS

ROOT = Path(__file__).parents[2]
DETECTOR = str(ROOT / 'configs' / 'denseclip'
               / 'denseclip-det_retinanet-tinyrn_1xb8-6e_shapes_debug.py')
SEGMENTOR = """
default_scope = 'mmseg'
model = {model}
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(192, 128), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(
    type='BaseSegDataset', pipeline=test_pipeline,
    metainfo=dict(classes=('a', 'b', 'c'), palette=[[9, 0, 0], [0, 9, 0], [0, 0, 9]])))
"""
PIXELS = dict(type='SegDataPreProcessor', mean=[123., 117., 104.], std=[60., 50., 70.],
              bgr_to_rgb=True)


pytestmark = pytest.mark.usefixtures('scope_as_it_was')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config, checkpoint and images of two shapes."""
    root = tmp_path_factory.mktemp('infer')
    # Nothing but the checkpoint is read: there is no such file of CLIP weights.
    nowhere = dict(type='CLIPPretrained', checkpoint='nowhere.pt')
    changes = dict(data_preprocessor=PIXELS, text_encoder=dict(
        tiny.TEXT, init_cfg=nowhere, context_length=40))
    (root / 'config.py').write_text(SEGMENTOR.format(model=tiny.config(**changes)))
    (root / 'photos' / 'inner').mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, size in {'b.jpg': (71, 113), 'a.png': (71, 113), 'inner/c.png': (90, 60),
                       'd.png': (71, 113)}.items():
        noise = draw.integers(256, size=(size[0] // 9, size[1] // 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size[::-1]).save(root / 'photos' / name)
    model = tiny.model(**changes).eval()
    center(model, root / 'photos' / 'a.png')
    torch.save(dict(state_dict=model.state_dict(), meta={}), root / 'weights.pth')
    return root


@torch.no_grad()
def center(model, path: Path) -> None:
    """Random features are much alike, and so are texts: let none win all places."""
    model.class_texts.contexts.mul_(0.02)
    pixels = torch.from_numpy(cv2.resize(cv2.imread(str(path)), (192, 121)))
    data = model.data_preprocessor(dict(inputs=[pixels.permute(2, 0, 1)]))
    _, local = model.backbone(data['inputs'])[-1]
    model.backbone.attnpool.c_proj.bias -= local.mean((0, 2, 3))


@pytest.fixture(scope='module')
def infer(files):
    return DenseCLIPInferencer(str(files / 'config.py'), str(files / 'weights.pth'),
                               device='cpu')


def photo(files, name: str) -> str:
    return str(files / 'photos' / name)


# ---- segmentors

@pytest.mark.parametrize('name', ['a.png', 'b.jpg', 'inner/c.png'])
@pytest.mark.parametrize('classes', [None, 'grass;a very long red car;x;y;z'])
def test_labels_are_the_highest_probabilities_that_mmseg_gives(
        infer, files, name, classes):
    result = infer(photo(files, name), classes)
    # mmseg reads the file, swaps the channels and upsamples the logits by itself.
    infer.model.cfg = Config.fromfile(files / 'config.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        theirs = inference_model(infer.model, photo(files, name))
    wanted = theirs.seg_logits.data.softmax(0).argmax(0)
    assert result.labels.shape == np.asarray(Image.open(photo(files, name))).shape[:2]
    assert name != 'a.png' or len(np.unique(wanted)) > 1
    assert result.labels.dtype == np.uint8
    assert (result.labels == wanted.numpy()).all()
    assert result.classes == infer.model.class_names


def test_permuted_texts_give_permuted_labels(infer, files):
    one = infer(photo(files, 'a.png'), 'grass;a red car;water;snow')
    other = infer(photo(files, 'a.png'), 'snow;grass;water;a red car')
    places = np.array([other.classes.index(name) for name in one.classes])
    assert (places[one.labels] == other.labels).all()
    assert len(np.unique(one.labels)) > 1


def test_a_folder_gives_what_each_image_gives_alone(infer, files):
    names = ['a.png', 'b.jpg', 'd.png', 'inner/c.png']
    found = infer(files / 'photos', batch_size=3, progress=False)
    assert [result.name for result in found] == names
    for result in found:
        alone = infer(photo(files, result.name))
        assert (result.labels == alone.labels).mean() > 0.999


def test_processes_that_read_change_nothing(infer, files):
    folder = files / 'photos'
    one, other = (infer(folder, batch_size=1, workers=workers, progress=False)
                  for workers in (0, 2))
    for a, b in zip(one, other, strict=True):
        assert a.name == b.name and (a.labels == b.labels).all()


def test_arrays_are_bgr_and_pil_images_know_their_mode(infer, files):
    path = photo(files, 'a.png')
    from_file = infer(path).labels
    found = infer([cv2.imread(path), Image.open(path).convert('RGBA')], progress=False)
    assert [result.name for result in found] == ['image_0', 'image_1']
    for result in found:
        assert (result.labels == from_file).all()
    # Colors matter to this model at all.
    assert (infer(cv2.imread(path)[..., ::-1].copy()).labels != from_file).any()


def test_trained_classes_come_back_after_others(infer, files):
    before = infer(photo(files, 'a.png'))
    infer(photo(files, 'a.png'), 'grass;snow')
    after = infer(photo(files, 'a.png'))
    assert before.classes == after.classes == list(tiny.NAMES)
    assert (before.labels == after.labels).all()


def test_texts_are_encoded_once_for_all_images_and_calls(infer, files):
    calls = tiny.Calls(infer.model.class_texts.text_encoder)
    for _ in range(2):
        infer(files / 'photos', 'moss;fire;ice', batch_size=1, progress=False)
    assert calls.count == 1


def test_an_output_folder_holds_images_labels_and_texts(
        infer, files, tmp_path):
    found = infer(files / 'photos', 'grass;a red car', out=tmp_path, progress=False)
    written = sorted(str(path.relative_to(tmp_path))
                     for path in tmp_path.rglob('[!.]*') if path.is_file())
    assert written == sorted(['classes.txt', *(
        name for stem in ('a', 'b', 'd', 'inner/c')
        for name in (f'{stem}.jpg', f'labels/{stem}.png'))])
    assert (tmp_path / 'classes.txt').read_text() == 'grass\na red car\n'
    labels = np.asarray(Image.open(tmp_path / 'labels' / 'inner' / 'c.png'))
    assert (labels == found[3].labels).all()
    # The texts can be asked for again.
    again = infer(photo(files, 'a.png'), str(tmp_path / 'classes.txt'))
    assert (again.labels == found[0].labels).all()


def test_the_drawn_image_shows_the_input_beside_its_labels(infer, files, tmp_path):
    result = infer(photo(files, 'a.png'), out=tmp_path / 'new' / 'result.png')
    sheet = np.asarray(Image.open(tmp_path / 'new' / 'result.png'))
    # 113 x 71 pixels as wide as 640.
    image = np.asarray(Image.open(photo(files, 'a.png')).resize((640, 402), 3))
    assert (sheet[10:412, 10:650] == image).all()
    # Far from texts a pixel is 40 % of the gray image and 60 % of the class's color.
    palette = np.diag([9, 9, 9])
    shown = sheet[10:412, 660:1300].astype(int)
    rows, columns = np.mgrid[2:400:5, 2:640:5]
    labels = result.labels[(rows + 0.5).astype(int) * 71 // 402,
                           (columns + 0.5).astype(int) * 113 // 640]
    wanted = 0.4 * image.mean(2)[rows, columns, None] + 0.6 * palette[labels]
    close = abs(shown[rows, columns] - wanted).max(2) <= 1
    assert close.mean() > 0.9
    swatches = {tuple(pixel) for pixel in sheet[10:90, 1310:1324].reshape(-1, 3)}
    assert {tuple(palette[label]) for label in np.unique(result.labels)} <= swatches


def test_images_are_never_overwritten_by_results(infer, tmp_path):
    for name, folder in (('y.jpg', '.'), ('y.png', 'labels')):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new('RGB', (40, 30)).save(tmp_path / folder / name)
    for images, out in ((tmp_path / 'y.jpg', tmp_path / 'y.jpg'),
                        (tmp_path / 'y.jpg', tmp_path),
                        (tmp_path / 'labels', tmp_path)):
        with pytest.raises(ValueError, match='would overwrite a file that is read'):
            infer(images, out=out, progress=False)
    assert not (tmp_path / 'classes.txt').exists()


def test_files_of_one_stem_keep_apart():
    assert output_stems(['a/1.jpg', 'a/1.png', 'b/1.jpg', 'x.jpg', 'x.jpg']) == [
        'a/1.jpg', 'a/1.png', 'b/1', '3_x.jpg', '4_x.jpg']


# ---- what is refused

def test_damaged_images_are_counted_and_left_out(infer, files, tmp_path):
    good = Path(photo(files, 'b.jpg')).read_bytes()
    (tmp_path / 'a_cut.jpg').write_bytes(good[:len(good) // 2])
    (tmp_path / 'b.jpg').write_bytes(good)
    (tmp_path / 'c_empty.png').touch()
    with pytest.warns(UserWarning, match=r'(?s)2 of 3 images could not be used.*a_cut'
                                         r'\.jpg: truncated.*c_empty\.png: empty file'):
        result, = infer(tmp_path, progress=False)
    assert result.name == 'b.jpg' and len(infer.skipped) == 2
    assert infer(photo(files, 'a.png')).name == 'a.png' and not infer.skipped
    with pytest.raises(ValueError, match=r'cannot be used. .*a_cut.jpg: truncated'):
        infer(tmp_path / 'a_cut.jpg')
    (tmp_path / 'b.jpg').unlink()
    with pytest.raises(ValueError, match='2 of 2 images could not be used'):
        infer(tmp_path, progress=False)


@pytest.mark.parametrize('images, error, message', [
    ('nowhere.jpg', FileNotFoundError, 'nowhere.jpg: no such image or folder'),
    ([], ValueError, 'empty list'), (7, TypeError, 'got int'),
    ([None], TypeError, r'images\[0\]: expected a file.*NoneType'),
    (np.zeros((4, 4), np.uint8), ValueError, r'in BGR.*got uint8 of shape \(4, 4\)'),
    (np.zeros((4, 4, 3)), ValueError, 'got float64')])
def test_what_is_no_image_is_rejected(infer, images, error, message):
    with pytest.raises(error, match=message):
        infer(images)


def test_an_empty_folder_is_rejected(infer, tmp_path):
    with pytest.raises(FileNotFoundError, match='No image in'):
        infer(tmp_path)


@pytest.mark.parametrize('classes, message', [
    ('', 'names no class'), ([], 'names no class'), ('sky;Sky', "has 'Sky' twice"),
    ('sky;', 'is one class'), (['sky', 'very ' * 70], 'tokens'),
    ('sky, tree', 'neither a text file nor')])
def test_duplicate_texts_are_rejected(infer, files, classes, message):
    with pytest.raises(ValueError, match=message):
        infer(photo(files, 'a.png'), classes)


@pytest.mark.parametrize('changes, message', [
    (dict(score_thr=2), r'score_thr lie in \[0, 1\]'),
    (dict(batch_size=0), 'batch_size must be 1')])
def test_numbers_out_of_range_are_rejected(infer, files, changes, message):
    with pytest.raises(ValueError, match=message):
        infer(photo(files, 'a.png'), **changes)


def test_one_output_file_for_many_images_is_rejected(infer, files, tmp_path):
    with pytest.raises(ValueError, match='is one image file, but there are 4 images'):
        infer(files / 'photos', out=tmp_path / 'all.png')


def test_weights_that_do_not_fit_are_rejected(files, tmp_path):
    config = str(files / 'config.py')
    weights = torch.load(files / 'weights.pth', weights_only=True)['state_dict']
    four = tiny.model(class_names=('a', 'b', 'c', 'd'), text_encoder=dict(
        tiny.TEXT, context_length=40)).state_dict()
    cut = {k: v for k, v in weights.items() if not k.startswith('decode_head')}
    for name, state, error, message in (
            ('four', four, ValueError, 'trained on 4 classes, this model is built'),
            ('cut', cut, ValueError, r'missing are decode_head.*Name the config'),
            ('other', dict(x=torch.ones(1)), KeyError, 'no weight fits DenseCLIP')):
        torch.save(dict(state_dict=state), tmp_path / f'{name}.pth')
        with pytest.raises(error, match=message):
            DenseCLIPInferencer(config, str(tmp_path / f'{name}.pth'), 'cpu')
    texts = dict(class_texts=[['sky'], ['car'], ['tree']])
    torch.save(dict(state_dict=weights, meta=texts), tmp_path / 'texts.pth')
    with pytest.raises(ValueError, match="1 is 'car' in the file and 'a red car' in"):
        DenseCLIPInferencer(config, str(tmp_path / 'texts.pth'), 'cpu')


def test_models_without_texts_and_missing_files_are_rejected(files, tmp_path):
    weights = str(files / 'weights.pth')
    plain = ROOT / 'configs/denseclip/clip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256.py'
    with pytest.raises(ValueError, match='EncoderDecoder reads no class texts; name'):
        DenseCLIPInferencer(str(plain), weights, 'cpu')
    (tmp_path / 'empty.py').write_text('x = 1\n')
    with pytest.raises(ValueError, match='has no model; name the config of a DenseCLI'):
        DenseCLIPInferencer(str(tmp_path / 'empty.py'), weights, 'cpu')
    with pytest.raises(FileNotFoundError, match='checkpoint .*weight.pth does not'):
        DenseCLIPInferencer(str(files / 'config.py'), str(files / 'weight.pth'), 'cpu')
    for device in ('tpu', 'cuda:77'):
        with pytest.raises(ValueError, match=f'device {device!r}'):
            DenseCLIPInferencer(str(files / 'config.py'), weights, device)


# ---- detectors

@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    root = tmp_path_factory.mktemp('detector')
    torch.manual_seed(0)
    cfg = Config.fromfile(DETECTOR)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    with torch.no_grad():
        # Scores that differ, and texts that matter.
        model.bbox_head.retina_cls.weight.normal_(std=0.2)
        for parameter in model.class_texts.text_encoder.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5)
    torch.save(dict(state_dict=model.state_dict()), root / 'weights.pth')
    return DenseCLIPInferencer(DETECTOR, str(root / 'weights.pth'), 'cpu',
                               {'model.test_cfg.max_per_img': 20})


@pytest.mark.parametrize('name', ['b.jpg', 'inner/c.png'])
def test_boxes_are_those_of_mmdet(detector, files, name):
    result = detector(photo(files, name), score_thr=0.5)
    detector.model.cfg = Config.fromfile(DETECTOR)
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = inference_detector(detector.model, photo(files, name)).pred_instances
    theirs = theirs[theirs.scores >= 0.5]
    assert 0 < len(theirs) <= 20
    np.testing.assert_allclose(result.boxes_xyxy, theirs.bboxes, atol=1e-3)
    np.testing.assert_allclose(result.scores, theirs.scores, atol=1e-6)
    assert (result.labels == theirs.labels.numpy()).all()
    assert result.masks is None and result.classes[:2] == ['circle', 'square']


def test_detections_of_a_folder_are_those_of_its_images(detector, files):
    for result in detector(files / 'photos', batch_size=3, progress=False):
        alone = detector(photo(files, result.name))
        np.testing.assert_allclose(result.boxes_xyxy, alone.boxes_xyxy, atol=1e-2)


def test_other_texts_label_the_same_boxes_and_permute(detector, files):
    path = photo(files, 'a.png')
    own = detector(path, score_thr=0)
    one = detector(path, 'grass;a red car;water', score_thr=0)
    other = detector(path, 'water;grass;a red car', score_thr=0)
    assert one.classes == ['grass', 'a red car', 'water'] and 0 < len(one.labels)
    assert {tuple(box) for box in one.boxes_xyxy.round(2)} <= {
        tuple(box) for box in own.boxes_xyxy.round(2)}
    assert (one.boxes_xyxy == other.boxes_xyxy).all()
    assert ((one.labels + 1) % 3 == other.labels).all()
    again = detector(path, score_thr=0)
    assert again.classes == own.classes and (again.labels == own.labels).all()


def test_texts_of_a_detector_are_encoded_once(detector, files):
    calls = tiny.Calls(detector.model.class_texts.text_encoder)
    detector(files / 'photos', 'moss;fire', batch_size=1, progress=False)
    detector(files / 'photos', 'moss;fire', batch_size=1, progress=False)
    # Those of the training find the boxes, the others label them.
    assert calls.count <= 2


def test_boxes_are_written_as_coco_and_drawn(detector, files, tmp_path):
    result = detector(photo(files, 'a.png'), score_thr=0, out=tmp_path)
    found = COCO(tmp_path / 'annotations.json')
    rows = found.loadAnns(found.getAnnIds())
    assert [row['category_id'] - 1 for row in rows] == result.labels.tolist()
    assert [x['name'] for x in found.loadCats(found.getCatIds())] == result.classes
    boxes = np.array([row['bbox'] for row in rows])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(boxes, result.boxes_xyxy, atol=0.02)
    assert Image.open(tmp_path / 'a.jpg').width > 1290


# ---- the command line

def run_tool(monkeypatch, capsys, *arguments, tool: str = 'tools/infer.py') -> str:
    monkeypatch.setattr(sys, 'argv', [Path(tool).name, *map(str, arguments)])
    runpy.run_path(str(ROOT / tool), run_name='__main__')
    return capsys.readouterr().out


def test_the_tool_writes_and_sums_up(files, tmp_path, monkeypatch, capsys):
    said = run_tool(
        monkeypatch, capsys, files / 'config.py', files / 'weights.pth',
        files / 'photos', '--classes', 'grass;a red car', '--out', tmp_path,
        '--device', 'cpu', '--workers', '0')
    assert 'pixels of 4 images:' in said and 'a red car' in said
    assert f'Wrote {tmp_path}' in said and (tmp_path / 'inner' / 'c.jpg').is_file()


@pytest.mark.parametrize('arguments, message', [
    (['nowhere.jpg'], 'infer.py: nowhere.jpg: no such image'),
    (['--classes', 'sky;sky'], "infer.py: 'sky;sky' has 'sky' twice")])
def test_the_tool_ends_with_a_sentence(files, tmp_path, monkeypatch, capsys, arguments,
                                       message):
    with pytest.raises(SystemExit, match=message):
        run_tool(
            monkeypatch, capsys, files / 'config.py', files / 'weights.pth',
            photo(files, 'a.png'), *arguments, '--out', tmp_path, '--device', 'cpu')

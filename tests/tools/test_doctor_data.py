"""The data section of the doctor: annotation files, label maps, EXIF."""
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmcontrast.apis.doctor import Report
from mmcontrast.apis.doctor.data import check_data
from mmcontrast.datasets.box_problems import find_box_problems

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytestmark = pytest.mark.usefixtures('scope_as_it_was')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four images of 40 x 30, and we stand beside them."""
    (tmp_path / 'img').mkdir()
    (tmp_path / 'ann').mkdir()
    for name in 'abcd':
        Image.new('RGB', (40, 30), 'gray').save(tmp_path / f'img/{name}.jpg')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def coco(boxes, categories=('cat', 'dog'), **image):
    """Write ann.json: of each box its image ('a', ...), category and place."""
    images = [dict(dict(id=name, file_name=f'{name}.jpg', width=40, height=30), **image)
              for name in 'abcd']
    annotations = [dict(dict(id=i, image_id=name, category_id=category, bbox=list(box),
                             area=9, iscrowd=0), **dict(*more))
                   for i, (name, category, box, *more) in enumerate(boxes)]
    Path('ann.json').write_text(json.dumps(dict(
        images=images, annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(categories)])))


def detection(classes=('cat', 'dog'), kind='CocoDataset', **options):
    return dict(
        type=kind, ann_file='ann.json', data_prefix=dict(img='img/'),
        metainfo=dict(classes=classes), pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')], **options)


def segmentation(classes, reader=(), **options):
    return dict(
        type='BaseSegDataset', metainfo=dict(classes=classes), img_suffix='.jpg',
        data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=[
            dict(dict(type='LoadImageFromFile'), **dict(reader)),
            dict(type='LoadAnnotations')], **options)


def masks(*values, size=(40, 30), ext='png'):
    """Write the label maps: stripes of each of the values, the same in all."""
    stripes = np.resize(np.array(values, np.uint8), size[::-1])
    for name in 'abcd':
        Image.fromarray(stripes).save(f'ann/{name}.{ext}')


def checked(dataset, scope='mmdet', split='train', **cfg):
    report = Report()
    with DefaultScope.overwrite_default_scope(scope):
        check_data(report, Config({
            f'{split}_dataloader': dict(batch_size=1, dataset=dataset), **cfg}), 4)
    return report


def said(report, status):
    return '\n'.join(text for found, text in report.lines if found == status)


GOOD = ('a', 0, (2, 2, 20, 20)), ('b', 1, (2, 2, 20, 20))


# faults F: COCO file where none of metainfo.classes occurs; siblings: wrong case, one
# missing, classes of COCO by default, boxes of no class, an empty list.
@pytest.mark.parametrize('classes, words', [
    (('Cat', 'Dog'), "no category named Cat, Dog: did you mean 'cat' or 'dog'?"),
    (('cat', 'bird'), 'has no category named bird; it holds cat, dog'),
    (('person', 'car'), 'no category named person, car')])
def test_classes_that_the_file_lacks_are_named(folder, classes, words):
    coco(GOOD)
    for filter_cfg in (dict(filter_empty_gt=True), None):
        text = said(checked(detection(classes, filter_cfg=filter_cfg)), 'FAIL')
        assert 'ann.json' in text and words in text
        assert 'the exact names of the file' in text
    several = dict(type='ConcatDataset', datasets=[
        detection(filter_cfg=dict(filter_empty_gt=True)),
        dict(type='RepeatDataset', times=2, dataset=detection(
            classes, filter_cfg=dict(filter_empty_gt=True)))])
    assert words in said(checked(several), 'FAIL')


@pytest.mark.parametrize('boxes, words', [
    ((), 'It has no annotations'),
    ((('a', 0, (50, 2, 9, 9)), ('b', 0, (2, 2, 0, 9))),
     '1 outside of the image by its written width and height, the first: annotation 0 '
     'of a.jpg'),
    ([('a', 0, (1, 1, 9, 9), dict(area=0))], '1 with an area of 0 or less')])
def test_a_file_without_a_usable_box_says_so(folder, boxes, words):
    coco(boxes)
    with_filter = detection(filter_cfg=dict(filter_empty_gt=True))
    text = said(checked(with_filter), 'FAIL' if not boxes else 'WARN') + said(
        checked(with_filter), 'FAIL')
    assert words in text


# faults F: siblings of a file that is none: damaged, a list, a BOM, lacking keys.
@pytest.mark.parametrize('content, words', [
    ('<html>', "ann.json is not a JSON file: it begins with '<html>'"),
    ('', 'it is empty'),
    ('[]', "ann.json has no list 'images'"),
    ('{"images": [], "annotations": {}, "categories": []}',
     "ann.json has no list 'annotations'"),
    ('{"images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}], '
     '"categories": [{"id": 1, "name": "cat"}], "annotations": [{"id": 5, "image_id": '
     '1, "category_id": 1, "bbox": [1, 1, 9, 9]}]}',
     "1 of 1 annotations have no 'area', the first: {'id': 5"),
    (b'\xef\xbb\xbf{"images": [], "annotations": [], "categories": []}',
     'another encoding than UTF-8 without a byte order mark'),
    ('{"images": [], "annotations": [], "categories": []}'.encode('utf-16'),
     'another encoding than UTF-8 without a byte order mark')])
def test_a_file_that_is_no_annotation_file_is_named_with_the_entry(
        folder, content, words):
    Path('ann.json').write_bytes(
        content.encode() if isinstance(content, str) else content)
    text = said(checked(detection(('cat', ))), 'FAIL')
    assert 'ann.json' in text and words in text


# faults F: one box each: negative, empty, outside, NaN, unknown category and image.
def test_boxes_that_are_dropped_are_counted_by_kind_with_an_example(folder):
    coco([*GOOD, ('a', 0, (10, 10, -5, 5)), ('a', 0, (10, 10, 0, 5)),
          ('b', 0, (60, 60, 5, 5)), ('b', 0, (float('nan'), 1, 5, 5)),
          ('c', 7, (1, 1, 5, 5)), ('z', 0, (1, 1, 5, 5)), ('c', 0, (1, 1, 0.5, 5)),
          ('d', 0, (30, 1, 30, 5)), ('d', 0, (3, 1, float('inf'), 5))])
    report = checked(detection())
    text = said(report, 'WARN')
    assert '1 of infinite width or height, the first: annotation 10 of d.jpg' in said(
        report, 'FAIL')
    assert '7 of 11 boxes in ann.json are dropped' in text
    for kind, example in (
            ('1 of negative width or height', '2 of a.jpg, category 0, bbox [10, 10'),
            ('1 of no width or height', '3 of a.jpg'), ('1 outside', '4 of b.jpg'),
            ('1 NaN or infinite', '5 of b.jpg, category 0, bbox [nan'),
            ('1 of a category that the file does not list', '6 of c.jpg, category 7'),
            ('1 of an image that the file does not list', "7 of image 'z'"),
            ('1 narrower or lower than one pixel', '8 of c.jpg'),
            ('1 reaching out of the image', '9 of d.jpg')):
        assert f'{kind}' in text and f'annotation {example}' in text
    assert '11 boxes in ann.json, 4 are loaded, in 4 images' in said(report, 'OK')


# faults F: siblings: corners for sizes, shares for pixels, order of the classes, twice.
def test_a_guess_is_made_at_the_cause(folder):
    coco([(name, 0, (15, 12, 38, 28)) for name in 'abcd'])
    assert 'fit as x1, y1, x2, y2' in said(checked(detection()), 'WARN')
    coco([(name, 0, (0.1, 0.1, 0.5, 0.5)) for name in 'abcd'])
    assert 'not in shares of the image' in said(checked(detection()), 'WARN')
    coco(GOOD)
    assert "what is 'cat' there is called 'dog'" in said(
        checked(detection(('dog', 'cat'))), 'WARN')
    coco(GOOD, categories=('cat', 'dog', 'dog'))
    assert 'more than one category named dog' in said(checked(detection()), 'FAIL')


# faults F: COCO width/height that are not those of the image files.
def test_written_sizes_are_compared_with_the_files(folder):
    coco([*GOOD, ('c', 0, (32, 2, 6, 6)), ('d', 1, (2, 2, 6, 6))], width=30, height=40)
    text = said(checked(detection()), 'WARN')
    assert 'not those of 4 of 4 images' in text
    assert 'img/a.jpg: 30 x 40 is written, the image is 40 x 30' in text
    assert '1 of 4 boxes in ann.json are dropped' in text and '2 of c.jpg' in text


# faults C, sibling: a class that is asked for and has no box, no image, no pixel.
def test_classes_without_boxes_are_named(folder):
    coco(GOOD[:1], categories=('cat', 'dog'))
    assert 'class 1 (dog) occurs in no box of ann.json' in said(
        checked(detection()), 'WARN')


# faults F, siblings: annotations of PASCAL VOC; boxes that are all dropped.
def test_voc_files_whose_names_are_others_are_named(folder):
    Path('list.txt').write_text('a\n')
    Path('Annotations').mkdir()
    Path('Annotations/a.xml').write_text(
        '<annotation><size><width>40</width><height>30</height></size><object><name>'
        'Cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9'
        '</xmax><ymax>9</ymax></bndbox></object></annotation>')
    options = dict(kind='XMLDataset', ann_subdir='Annotations', img_subdir='img')

    def voc(classes, **more):
        return checked(dict(
            detection(classes, **options, **more), ann_file='list.txt', data_root='.',
            data_prefix=dict(sub_data_root='')))
    words = "no category named cat: did you mean 'Cat'? it holds Cat"
    assert words in said(voc(('cat', ), filter_cfg=dict(filter_empty_gt=True)), 'FAIL')
    assert 'not one box is loaded by way of' in said(voc(('cat', )), 'FAIL')
    sound = voc(('Cat', 'Dog'))
    assert '1 boxes are loaded' in said(sound, 'OK')
    assert 'class 1 (Dog) occurs in no box' in said(sound, 'WARN')


def test_a_file_of_which_every_box_is_dropped_fails(folder):
    coco([('a', 0, (60, 2, 9, 9)), ('b', 1, (2, 50, 9, 9))])
    text = said(checked(detection()), 'FAIL')
    assert '2 boxes in ann.json, not one is loaded' in text


def test_sound_annotations_pass(folder):
    coco(GOOD)
    report = checked(detection(filter_cfg=dict(filter_empty_gt=True)))
    assert not said(report, 'WARN') and not said(report, 'FAIL')
    assert '2 boxes in ann.json, 2 are loaded, in 2 images' in said(report, 'OK')


# faults F: sibling, masks that mmdet cannot read
def test_masks_that_are_none_are_counted(folder):
    square = [5, 5, 9, 5, 9, 9, 5, 9]
    masks = [[square], dict(size=[30, 40], counts=[1200]), [square, [1, 2]],
             [square[:7]], [square[:4]], [[]], dict(size=[40, 30], counts=[1200]),
             dict(size=[30, 40], counts=None), 'x']
    coco([('abcd'[k % 4], 0, (5, 5, 4, 4), dict(segmentation=mask))
          for k, mask in enumerate(masks)], ['cat'])
    found = find_box_problems(json.loads(Path('ann.json').read_text()), None, True)
    assert found.counts == dict(bad_mask=6)
    assert 'annotation 3 of d.jpg' in found.examples['bad_mask']
    coco([('a', 0, (5, 5, 4, 4), dict(segmentation=mask)) for mask in masks[:6]],
         ['cat'])
    dataset = detection(['cat'])
    dataset['pipeline'][1].update(with_bbox=True, with_mask=True)
    text = said(checked(dataset), 'WARN')
    assert '3 with a mask that is no polygon of three points' in text


# faults C: binary masks with 0 and 255; siblings: 0 alone, three classes, 0 reduced.
@pytest.mark.parametrize('values, classes, options, status, words', [
    ((0, 255), 'xy', {}, 'FAIL', 'class 1 (y) occurs in no mask; is 255 your fore'),
    ((0, ), 'xy', {}, 'WARN', 'class 1 (y) occurs in no mask (4 of 4 masks read)'),
    ((0, 1, 255), 'xyz', {}, 'WARN', 'class 2 (z) occurs in no mask; is 255, which is'),
    ((0, 1), 'xy', dict(reduce_zero_label=True), 'FAIL', 'reduce_zero_label=False'),
    ((255, ), 'xy', {}, 'FAIL', 'every pixel of 4 masks is ignored (255)'),
    ((0, 255), 'xy', dict(model=dict(decode_head=dict(num_classes=2,
                                                      ignore_index=None))),
     'FAIL', 'labels [255] lie outside of the 2 classes (0 to 1, no label is ignored)'),
    ((0, 1), 'xyzabc', {}, 'WARN', 'classes 2 (z), 3 (a), 4 (b), 5 (c) occur in no'),
    ((0, 255), 'xy', dict(model=dict(decode_head=dict(num_classes=2, ignore_index=9))),
     'FAIL', 'labels [255] lie outside of the 2 classes (0 to 1, 9 is ignored); is 255')
])
def test_classes_that_no_mask_holds_are_named(
        folder, values, classes, options, status, words):
    masks(*values)
    cfg = {key: options[key] for key in ('model', ) if key in options}
    options = {key: options[key] for key in options if key not in cfg}
    report = checked(segmentation(tuple(classes), **options), 'mmseg', **cfg)
    assert words in said(report, status)


# faults AB: the data set's or head's ignore_index, not a built-in 255.
def test_what_heads_and_metrics_ignore_is_no_label_outside(folder):
    masks(0, 1, 11)
    dataset = segmentation(('x', 'y'), ignore_index=11)
    assert not said(checked(dataset, 'mmseg'), 'FAIL')
    head = dict(type='FCNHead', num_classes=2)
    ignoring = dict(head, ignore_index=11)
    sound = checked(dataset, 'mmseg', model=dict(decode_head=ignoring))
    assert not said(sound, 'FAIL') and not said(sound, 'WARN')
    # Siblings: an auxiliary head, the metric, the padding that disagree.
    text = said(checked(dataset, 'mmseg', model=dict(
        decode_head=ignoring, auxiliary_head=[head])), 'FAIL')
    assert 'labels [11] lie outside of the 2 classes' in text
    assert 'set ignore_index of model.auxiliary_head' in text
    metric = dict(type='IoUMetric')
    assert 'set ignore_index of val_evaluator' in said(checked(
        dataset, 'mmseg', 'val', val_evaluator=metric), 'FAIL')
    assert not said(checked(dataset, 'mmseg', 'val', val_evaluator=[
        dict(metric, ignore_index=11)]), 'FAIL')
    assert 'pads label maps with 255' in said(checked(dataset, 'mmseg', model=dict(
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
        decode_head=ignoring)), 'WARN')


def test_label_maps_beyond_the_sample_are_read_too(folder):
    masks(0, 1)
    Image.fromarray(np.full((30, 40), 9, np.uint8)).save('ann/b.png')
    report = Report()
    with DefaultScope.overwrite_default_scope('mmseg'):
        check_data(report, Config(dict(train_dataloader=dict(
            batch_size=1, dataset=segmentation(('x', 'y'))))), 2)
    text = said(report, 'FAIL')
    assert '1 problem(s) in 4 label maps:\nann/b.png: labels [9]' in text


def test_255_outside_of_another_ignored_label_is_found(folder):
    masks(0, 1, 255)
    text = said(checked(segmentation(('x', 'y', 'z'), ignore_index=7), 'mmseg'), 'FAIL')
    assert 'labels [255] lie outside of the 3 classes (0 to 2, 7 is ignored)' in text


# faults N: EXIF 3 (same size), EXIF 6 (sizes swapped), read as stored.
@pytest.mark.parametrize('orientation, reader, status, words', [
    (3, {}, 'WARN', '(3, turned by 180 degrees). The pipeline turns them upright'),
    (6, {}, 'FAIL', 'label map of 40 x 30 pixels for an image of 30 x 40 (stored as '
     '40 x 30, EXIF orientation 6, turned by 90 degrees when it is read)'),
    (6, dict(color_type='color_ignore_orientation'), 'WARN',
     'The pipeline reads them as they are stored'),
    (2, dict(imdecode_backend='pillow'), 'WARN', '(2, mirrored)')])
def test_the_exif_orientation_is_named(folder, orientation, reader, status, words):
    masks(0, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', (40, 30)).save('img/b.jpg', exif=exif)
    report = checked(segmentation(('x', 'y'), reader), 'mmseg')
    assert words in said(report, status)
    assert '1 of 4 images have an EXIF orientation, the first: img/b.jpg' in said(
        report, 'WARN')
    assert bool(said(report, 'FAIL')) == (status == 'FAIL')


def test_exif_explains_sizes_in_coco_files(folder):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new('RGB', (40, 30)).save('img/b.jpg', exif=exif)
    coco(GOOD)
    text = said(checked(detection()), 'WARN')
    assert 'img/b.jpg: 40 x 30 is written, the image is 30 x 40 (stored as' in text
    assert 'EXIF orientation 8' in text


# faults C, sibling: labels of whole images.
def test_classes_without_an_image_are_named(folder):
    pytest.importorskip('mmpretrain')
    Path('list.txt').write_text('a.jpg 0\nb.jpg 0\n')
    report = checked(dict(
        type='CustomDataset', ann_file='list.txt', data_prefix='img',
        metainfo=dict(classes=('x', 'y')), pipeline=[]), 'mmpretrain')
    assert 'class 1 (y) occurs in no image' in said(report, 'WARN')

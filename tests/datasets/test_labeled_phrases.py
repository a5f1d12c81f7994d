"""Labels of images as phrases that are there or not."""
import json

import pytest
from PIL import Image

from mmcontrast.datasets.labeled_phrases import read_labeled_phrases
from mmcontrast.errors import UserValueError

CATEGORIES = [dict(id=3, name='traffic_light'), dict(id=1, name='dog'),
              dict(id=2, name='cat')]


@pytest.fixture
def folder(tmp_path):
    for name in ('a.jpg', 'b.jpg'):
        Image.new('RGB', (40, 30)).save(tmp_path / name)
    return tmp_path


def write(folder, content, name='labels.json'):
    (folder / name).write_text(json.dumps(content))
    return folder / name


def coco(**changes):
    return dict(
        images=[dict(id=i, file_name=f'{name}.jpg', width=40, height=30)
                for i, name in enumerate('ab')],
        categories=CATEGORIES, annotations=[
            dict(id=i, image_id=image, category_id=category, bbox=box, iscrowd=crowd)
            for i, (image, category, box, crowd) in enumerate((
                (0, 1, [1, 2, 10, 20], 0), (0, 1, [5, 5, 5, 5], 0),
                (0, 2, [0, 0, 40, 30], 1)))]) | changes


def texts(image):
    return {phrase.text: phrase.present for phrase in image.phrases}


def test_each_class_is_a_phrase_about_each_image(folder):
    first, second = read_labeled_phrases(write(folder, coco()), folder)
    assert first.path == str(folder / 'a.jpg')
    assert texts(first) == {'traffic light': False, 'dog': True, 'cat': True}
    assert texts(second) == {'traffic light': False, 'dog': False, 'cat': False}
    _, dog, cat = first.phrases
    assert dog.boxes_xyxy.tolist() == [[1, 2, 11, 22], [5, 5, 10, 10]]
    # A crowd is there, but has no box of its own.
    assert cat.boxes_xyxy.shape == (0, 4)


def test_of_lvis_only_what_was_looked_for_is_absent(folder):
    content = coco()
    content['images'][0]['neg_category_ids'] = [3]
    content['images'][1]['neg_category_ids'] = []
    labeled, = read_labeled_phrases(write(folder, content), folder)
    assert texts(labeled) == {'traffic light': False, 'dog': True, 'cat': True}
    content['images'][0]['neg_category_ids'] = [3, 2]
    content['annotations'].pop()
    labeled, = read_labeled_phrases(write(folder, content), folder)
    assert texts(labeled) == {'traffic light': False, 'dog': True, 'cat': False}


def test_phrases_of_one_image_are_joined(folder):
    def record(number, raw, *boxes):
        return dict(image_id=number, width=40, height=30, file_name=f'{raw[0]}.jpg',
                    expressions=dict(raw=raw[2:]), annotations=[
                        dict(id=i + 1, bbox=list(box), segmentation=None)
                        for i, box in enumerate(boxes)] or [
                            dict(id=-1, bbox=None, segmentation=None)])
    content = dict(val=[record(1, 'a dog', (0, 0, 5, 5)), record(1, 'a cat'),
                        record(2, 'b dog', (1, 1, 2, 2), (3, 3, 2, 2))], test=[])
    path = write(folder, content)
    with pytest.raises(UserValueError, match="has the splits 'val' .3."):
        read_labeled_phrases(path, folder)
    first, second = read_labeled_phrases(path, folder, split='val')
    assert texts(first) == dict(dog=True, cat=False)
    assert second.phrases[0].boxes_xyxy.tolist() == [[1, 1, 3, 3], [3, 3, 5, 5]]


def test_lines_of_odvg_are_read(folder):
    line = dict(filename='a.jpg', width=40, height=30, grounding=dict(
        caption='a dog', regions=[dict(bbox=[1, 2, 3, 4], phrase='dog')]))
    labeled, = read_labeled_phrases(write(folder, line, 'labels.jsonl'), folder)
    assert labeled.phrases[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]


def test_missing_images_and_wrong_options_are_named(folder):
    path = write(folder, coco())
    (folder / 'b.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 2 images.*b.jpg'):
        read_labeled_phrases(path, folder)
    with pytest.raises(UserValueError, match='leave out split and instances'):
        read_labeled_phrases(path, folder, split='val')
    with pytest.raises(UserValueError, match='no phrase about any image'):
        read_labeled_phrases(write(folder, coco(images=[], annotations=[])), folder)

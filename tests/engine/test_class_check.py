"""ClassCheckHook: heads, class list and labels, with real mmseg and mmdet parts."""
import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner

from mmcontrast.engine.hooks import ClassCheckHook
from mmcontrast.engine.hooks.class_check import check_labels, class_heads
from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.errors import UserValueError

pytest.importorskip('mmseg')
pytest.importorskip('mmdet')


pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def runner_of(scope, model, dataset, work_dir, **more):
    return Runner(
        **more,
        model=ConfigDict(model), work_dir=str(work_dir), default_scope=scope,
        experiment_name=work_dir.name,
        train_dataloader=dict(
            batch_size=2, num_workers=0, dataset=dataset,
            sampler=dict(type='InfiniteSampler', shuffle=False)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1, val_interval=9),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[dict(type='mmcontrast.ClassCheckHook')])


def segmentation(root, num_classes, classes, label=0, ignore_index=255, **more):
    """A runner on two gray images whose every pixel has ``label``."""
    gray = np.full((32, 32, 3), 99, 'uint8')
    labels = np.broadcast_to(np.uint8(label), (32, 32))
    for folder in ('img', 'ann'):
        (root / folder).mkdir()
    for name in ('a', 'b'):
        cv2.imwrite(str(root / 'img' / f'{name}.jpg'), gray)
        cv2.imwrite(str(root / 'ann' / f'{name}.png'), labels)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
        backbone=dict(type='ResNet', depth=18, base_channels=4),
        decode_head=dict(
            type='FCNHead', in_channels=32, in_index=3, channels=4, num_convs=1,
            num_classes=num_classes, ignore_index=ignore_index),
        test_cfg=dict(mode='whole'))
    dataset = dict(
        type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=classes),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                  dict(type='PackSegInputs')])
    if more:  # with validation
        more = dict(val_cfg=dict(type='ValLoop'), val_dataloader=dict(
            batch_size=1, num_workers=0, dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False)), **more)
    return runner_of('mmseg', model, dataset, root, **more)


def detection(root, num_classes, classes):
    """A runner on two gray images with one box each, of a WBC and of an RBC."""
    (root / 'img').mkdir()
    for i in (1, 2):
        cv2.imwrite(str(root / 'img' / f'{i}.jpg'), np.full((64, 64, 3), 99, 'uint8'))
    (root / 'ann.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=64, height=64) for i in (1, 2)],
        annotations=[dict(id=i, image_id=i, category_id=i, bbox=[8, 8, 40, 40],
                          area=1600, iscrowd=0) for i in (1, 2)],
        categories=[dict(id=1, name='WBC'), dict(id=2, name='RBC')])))
    model = dict(
        type='RetinaNet',
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=dict(type='ResNet', depth=18, base_channels=4),
        neck=dict(type='FPN', in_channels=[4, 8, 16, 32], out_channels=4, num_outs=5),
        bbox_head=dict(
            type='RetinaHead', num_classes=num_classes, in_channels=4, feat_channels=4,
            stacked_convs=1, anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1,
                ratios=[1.0], strides=[4, 8, 16, 32, 64])),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
            sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1))
    dataset = dict(
        type='RepeatDataset', times=3, dataset=dict(
            type='CocoDataset', data_root=str(root), metainfo=dict(classes=classes),
            ann_file='ann.json', data_prefix=dict(img='img/'),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='LoadAnnotations', with_bbox=True),
                      dict(type='PackDetInputs')]))
    return runner_of('mmdet', model, dataset, root)


def test_a_segmentor_that_fits_trains(tmp_path):
    runner = segmentation(tmp_path, 2, ('cat', 'dog'), label=1)
    before = runner.model.backbone.conv1.weight.clone()
    runner.train()
    assert not torch.equal(before, runner.model.backbone.conv1.weight)


# faults C: classes that never occur are named in every result; 255 for a class.
def test_classes_without_a_label_are_named_after_validation_and_before_training(
        tmp_path, monkeypatch):
    stripes = np.where(np.arange(32) < 16, 0, 255)
    runner = segmentation(tmp_path, 2, ('cat', 'dog'), stripes, val_evaluator=dict(
        type='IoUMetric', iou_metrics=['mIoU']))
    said = []
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    runner.val()
    assert said == ['class 1 (dog) occurs in no label of the validation set: no score '
                    'is about them']
    said.clear()
    runner.train()
    assert ('class 1 (dog) occurs in no mask of a sample of 2; is 255 your foreground? '
            'It is ignored. See tools/doctor.py.') in said


def test_a_set_with_all_classes_is_not_mentioned(tmp_path, monkeypatch):
    runner = segmentation(tmp_path, 2, ('cat', 'dog'), np.arange(32) % 2,
                          val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))
    said = []
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    runner.val()
    runner.train()
    assert not [text for text in said if 'occur' in text]


def test_boxes_and_image_labels_count_as_labels_too(tmp_path, monkeypatch):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from mmpretrain.structures import DataSample
    boxes = DetDataSample(gt_instances=InstanceData(labels=torch.tensor([0, 2])))
    image = DataSample().set_gt_label([0, 1])
    for sample, absent in ((boxes, '1 (b)'), (image, '2 (c)')):
        said = []
        loader = SimpleNamespace(dataset=SimpleNamespace(
            metainfo=dict(classes=('a', 'b', 'c'))))
        runner = SimpleNamespace(val_dataloader=loader, test_dataloader=loader,
                                 logger=SimpleNamespace(warning=said.append))
        hook = ClassCheckHook()
        hook.before_val_epoch(runner)
        hook.after_val_iter(runner, 0, None, [sample])
        hook.after_val_epoch(runner)
        hook.before_test_epoch(runner)
        hook.after_test_iter(runner, 0, None, [sample, 'text'])
        hook.after_test_epoch(runner)
        assert len(said) == 2 and all(f'class {absent} occurs' in text for text in said)


def test_a_segmentation_head_with_other_classes_is_named_with_both_counts(tmp_path):
    with pytest.raises(ValueError) as error:
        segmentation(tmp_path, 5, ('cat', 'dog')).train()
    for part in ('model.decode_head', 'num_classes=5', '2 classes: cat, dog',
                 'train_dataloader', 'model.decode_head.num_classes=2'):
        assert part in str(error.value)


def test_a_label_beyond_the_classes_is_named_with_its_file(tmp_path):
    with pytest.raises(ValueError, match=r'a\.jpg holds the labels \[7\].*0 to 1'):
        segmentation(tmp_path, 2, ('cat', 'dog'), label=7).train()


def test_the_ignored_label_is_fine_and_only_that_one(tmp_path):
    segmentation(tmp_path, 2, ('cat', 'dog'), label=2, ignore_index=2).train()
    (tmp_path / '255').mkdir()
    with pytest.raises(ValueError, match=r'\[255\].*ignore_index=2'):
        segmentation(tmp_path / '255', 2, ('cat', 'dog'), 255, ignore_index=2).train()


def test_a_detector_that_fits_trains(tmp_path):
    runner = detection(tmp_path, 2, ('WBC', 'RBC'))
    before = runner.model.bbox_head.retina_cls.weight.clone()
    runner.train()
    assert not torch.equal(before, runner.model.bbox_head.retina_cls.weight)


def test_a_detection_head_with_other_classes_is_named_with_both_counts(tmp_path):
    with pytest.raises(ValueError, match=r'model\.bbox_head .*=80.*has 2 classes'):
        detection(tmp_path, 80, ('WBC', 'RBC')).train()


def test_a_class_name_that_the_annotation_file_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'ann\.json .*no category named Rbc.*WBC, R'):
        detection(tmp_path, 2, ('WBC', 'Rbc')).train()


def test_classes_of_which_the_file_has_none_are_named_before_training(tmp_path):
    # faults F: numpy's "need at least one array to concatenate".
    runner = detection(tmp_path, 2, ('wbc', 'rbc'))
    with pytest.raises(UserValueError, match=r"ann\.json has no category named wbc, rbc"
                       r": did you mean 'WBC' or 'RBC'\? it holds WBC, RBC"):
        ReliableRunner.build_dataloader(runner._train_dataloader)


def test_one_class_written_without_its_comma_is_explained(tmp_path):
    with pytest.raises(ValueError, match=r"single string 'cat'.*classes=\('cat', \)"):
        segmentation(tmp_path, 3, 'cat').train()


def test_objectness_is_not_a_class(tmp_path):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=True)
    rpn = MODELS.build(dict(
        type='RPNHead', in_channels=4, feat_channels=4,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4])))
    assert rpn.num_classes == 1
    assert class_heads(torch.nn.ModuleDict(dict(rpn_head=rpn))) == {}


def test_models_without_class_heads_pass_unseen():
    hook = ClassCheckHook()
    hook.heads = class_heads(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1)))
    assert hook.heads == {}
    hook.before_train_iter(None, 0, data_batch=None)


def test_a_list_called_class_texts_is_no_vocabulary_of_ours():
    model, checkpoint = torch.nn.Linear(1, 1), dict(meta=dict(class_texts=[['sky']]))
    model.class_texts = ['sky', 'tree']
    hook, runner = ClassCheckHook(), SimpleNamespace(model=model)
    hook.after_load_checkpoint(runner, checkpoint)
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == dict(meta=dict(class_texts=[['sky']]))


def test_an_image_label_is_checked_too():
    from mmpretrain.structures import DataSample
    head = torch.nn.Identity()
    head.num_classes = 10
    check_labels(dict(head=head), [DataSample().set_gt_label(9)])
    with pytest.raises(ValueError, match=r'\[10\].*model\.head .*0 to 9'):
        check_labels(dict(head=head), [DataSample().set_gt_label(10)])


def test_every_label_out_of_range_is_reported_once():
    from mmengine.structures import BaseDataElement, PixelData
    head = torch.nn.Identity()
    head.num_classes, head.ignore_index = 3, 255
    for odd in ([-1], [7, 200], [-1, 70000]):
        labels = torch.tensor([[0, 1, 2, 255, *odd, *odd]])[None]
        sample = BaseDataElement(gt_sem_seg=PixelData(data=labels))
        with pytest.raises(ValueError, match=re.escape(f'holds the labels {odd}, but')):
            check_labels(dict(decode_head=head), [sample])

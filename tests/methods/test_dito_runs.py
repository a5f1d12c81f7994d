"""Real runs of DITO: the toy configs train, resume, test and report."""
import json
import re

import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('open_clip')
from mmcontrast.apis.config import UsageError, load_config
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.inferencers.open_vocabulary import OpenVocabularyInferencer
from mmcontrast.apis.test import test as run_test
from mmcontrast.apis.train import train
from mmcontrast.io.checkpoint import read_checkpoint

DETECTOR = 'mmcontrast::dito/dito_faster-rcnn-vit-tiny_1xb8-2e_shapes_debug.py'
REGIONS = 'mmcontrast::dito/dito-pretrain-regions_vit-tiny_1xb64-2e_shapes_debug.py'
# In this process: a worker would import everything again. A visualizer of its own:
# mmengine keeps them by name, with their folder.
HERE = {'visualizer.name': 'dito-runs'} | {
    f'{split}_dataloader.{key}': value for split in ('train', 'val', 'test')
    for key, value in dict(num_workers=0, persistent_workers=False).items()}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dito')
    make_shapes(folder / 'data/shapes_ov', layouts=['combinations'], train=16, val=4,
                test=4, train_combinations='seen', progress=False)
    return folder


@pytest.fixture(scope='module')
def trained(folder):
    """Work directory of a short training of the detector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(DETECTOR, str(folder / 'run'), cfg_options=HERE | {
            'default_hooks.logger.interval': 1})
    return folder / 'run'


def test_the_detector_learns_on_the_toy_world(trained):
    rows = [json.loads(line) for path in trained.rglob('scalars.json')
            for line in path.read_text().splitlines()]
    losses = [row['loss_cls'] for row in rows if 'loss_cls' in row]
    assert len(losses) == 4 and losses[-1] < 0.8 * losses[0]
    scores = [row for row in rows if 'coco/bbox_mAP' in row]
    assert {'coco/base/bbox_mAP_50', 'coco/novel/bbox_mAP_50'} <= set(scores[0])


def test_the_test_tool_reports_trained_and_kept_classes(folder, trained, monkeypatch,
                                                        capsys):
    monkeypatch.chdir(folder)
    novel = (folder / 'data/shapes_ov/novel_classes.txt').read_text().split('\n')[0]
    checkpoint = str(trained / 'epoch_2.pth')
    # With mmdet's visualizer.
    found = run_test(DETECTOR, checkpoint, str(folder / 'test'), kept=f'{novel};',
                     before=checkpoint, show_dir='drawn',
                     cfg_options=HERE | {'experiment_name': 'dito-test'})
    assert len(list((folder / 'test').rglob('drawn/*.jpg'))) + len(
        list((folder / 'test').rglob('drawn/*.png'))) >= 4
    assert any(key.startswith('vocabulary/trained') for key in found)
    assert any(key.startswith('vocabulary/kept') for key in found)
    table = re.findall(r'^(trained|kept) +bbox_mAP_50', capsys.readouterr().err
                       + (log_of(folder / 'test')), re.M)
    assert {'trained', 'kept'} <= set(table)


@pytest.mark.parametrize('before', [True, False])
def test_a_checkpoint_without_the_heads_is_refused_before_the_test(
        folder, trained, monkeypatch, before):
    monkeypatch.chdir(folder)
    checkpoint = read_checkpoint(trained / 'epoch_2.pth')
    checkpoint['state_dict'] = {
        key: value for key, value in checkpoint['state_dict'].items()
        if key.startswith('backbone.')}
    torch.save(checkpoint, folder / 'backbone.pth')
    whole, part = str(trained / 'epoch_2.pth'), str(folder / 'backbone.pth')
    with pytest.raises(UsageError, match='backbone.pth: .* weights of DITODetector '
                                         'loaded.*missing are'):
        run_test(DETECTOR, whole if before else part, str(folder / 'refused'),
                 cfg_options=HERE, kept='red circle;', before=part if before else None)
    assert not list((folder / 'refused').rglob('scalars.json'))


def test_a_detector_of_other_classes_is_tested_beside_ours(folder, trained,
                                                           monkeypatch):
    monkeypatch.chdir(folder)
    checkpoint = read_checkpoint(trained / 'epoch_2.pth')
    assert len(checkpoint['meta']['class_texts']) == 56
    checkpoint['meta']['class_texts'] = [['a cat'], ['a dog']]
    torch.save(checkpoint, folder / 'other.pth')
    # mmengine keeps loggers by name, with their file; the default names of two runs
    # that start within one second are the same.
    found = run_test(DETECTOR, str(folder / 'other.pth'), str(folder / 'others'),
                     cfg_options=HERE | {'experiment_name': 'dito-others'})
    assert 'coco/novel/bbox_mAP_50' in found
    assert 'was trained with other classes (2)' in log_of(folder / 'others')


def test_drawn_tests_and_the_inferencer_leave_out_the_same_boxes():
    hook = load_config(DETECTOR).default_hooks.visualization
    assert hook.score_thr == OpenVocabularyInferencer.score_thr


def log_of(work_dir):
    return '\n'.join(path.read_text() for path in work_dir.rglob('*.log'))


def test_a_class_list_that_does_not_fit_stops_before_the_first_step(folder,
                                                                    monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match='model.class_names names 2 classes, but '
                                         'train_dataloader has 56'):
        train(DETECTOR, str(folder / 'wrong'), cfg_options=HERE | {
            'model.class_names': ['red circle', 'blue square']})


def test_regions_are_pretrained_and_fill_the_detector(folder, trained, monkeypatch):
    monkeypatch.chdir(folder)
    train(REGIONS, str(folder / 'regions'), cfg_options={
        'visualizer.name': 'dito-regions',
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.batch_size': 8, 'train_dataloader.dataset.num_images': 24})
    ours = read_checkpoint(folder / 'regions/epoch_2.pth')['state_dict']
    from mmcontrast.registry import MODELS
    config = load_config(DETECTOR.replace('2e_shapes_debug', '6e_shapes')).model
    pretrained = str(folder / 'regions/epoch_2.pth')
    for part in (config.backbone, config.vlm, config.neck, config.roi_head.bbox_head):
        part.init_cfg.checkpoint = pretrained
    config.text_encoder.init_cfg = None
    model = MODELS.build(config)
    model.init_weights()
    state = model.state_dict()
    for name, value in ours.items():
        part, _, rest = name.partition('.')
        for key in dict(backbone=[f'backbone.{rest}', f'vlm.{rest}'], neck=[name],
                        box_head=[f'roi_head.bbox_head.{rest}']).get(part, []):
            assert torch.equal(state[key], value), key

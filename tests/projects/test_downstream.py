"""The settings in projects/downstream, built and trained with real mmdet and mmseg."""
import ast
import copy
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.registry import init_default_scope as enter_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData

import mmcontrast  # noqa: F401  mmseg:: inheritance under the maintained packages

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

ROOT = Path(__file__).parents[2] / 'projects' / 'downstream'
CONFIGS = sorted(ROOT.glob('mm*/*.py'))
SMALL = [path for path in CONFIGS if re.search('camvid|bccd|shapes', path.name)]
FCN = ROOT / 'mmseg' / 'fcn_r18-d16_1xb8-300it_camvid-160x160.py'
FASTER_RCNN = ROOT / 'mmdet' / 'faster-rcnn_r18-fpn_1xb4-300it_bccd.py'


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda path: path.stem)


pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def load(path: Path) -> Config:
    config = copy.deepcopy(read(path))
    enter_scope(config.default_scope)
    return config


read = functools.cache(Config.fromfile)


# What a config says

@each(CONFIGS)
def test_a_setting_needs_nothing_of_ours(path):
    assert 'mmcontrast' not in str(load(path).to_dict())


@each(CONFIGS)
def test_the_file_name_tells_batch_and_schedule(path):
    config = load(path)
    gpus, batch, count, unit = re.search(
        r'_(\d+)xb(\d+)-(\d+)(k|it)_', path.name).groups()
    assert config.train_dataloader.batch_size == int(batch)
    assert int(gpus) * int(batch) == 16 or path in SMALL
    iterations = int(count) * (1000 if unit == 'k' else 1)
    assert config.train_cfg.max_iters == iterations
    # The last rate decay and the last checkpoint belong to the same schedule.
    assert config.param_scheduler[-1].end == iterations
    assert iterations % config.default_hooks.checkpoint.interval == 0
    assert iterations % config.train_cfg.val_interval == 0


@each(CONFIGS)
def test_images_arrive_as_in_pretraining_and_only_frozen_means_frozen(path):
    model = load(path).model
    assert model.data_preprocessor.bgr_to_rgb
    assert list(model.data_preprocessor.mean) == [123.675, 116.28, 103.53]
    assert list(model.data_preprocessor.std) == [58.395, 57.12, 57.375]
    assert model.backbone.type == 'ResNet' and model.backbone.style == 'pytorch'
    frozen = '-frozen_' in path.name
    assert model.backbone.get('frozen_stages', -1) == (4 if frozen else -1)
    assert model.backbone.norm_eval is frozen
    assert model.backbone.norm_cfg.type == ('BN' if path in SMALL else 'SyncBN')


@pytest.mark.parametrize('name, lr, weight_decay, drops, warmup', [
    ('mmdet/mask-rcnn_r50-fpn_8xb2-90k_coco', 0.02, 1e-4, [60000, 80000], 1000),
    ('mmdet/mask-rcnn_r50-c4_8xb2-90k_coco', 0.02, 1e-4, [60000, 80000], 1000),
    ('mmdet/faster-rcnn_r50-c4_8xb2-24k_voc0712', 0.02, 1e-4, [18000, 22000], 100),
    ('mmseg/fcn-d6_r50-d16_4xb4-30k_voc12aug-513x513',
     0.003, 1e-4, [21000, 27000], None),
    ('mmseg/fcn-d6_r50-d16_8xb2-90k_cityscapes-769x769',
     0.01, 1e-4, [63000, 81000], None)])
def test_rates_and_drops_are_the_published_ones(name, lr, weight_decay, drops, warmup):
    config = load(ROOT / f'{name}.py')
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (lr, weight_decay)
    *warmups, decay = config.param_scheduler
    assert decay.milestones == drops and decay.gamma == 0.1
    assert [scheduler.end for scheduler in warmups] == ([warmup] if warmup else [])


@each([path for path in SMALL if 'camvid' in path.name])
def test_void_is_one_number_in_crop_padding_heads_and_metric(path):
    config = load(path)
    void = len(config.classes)
    assert void == 11
    crop = next(t for t in config.train_dataloader.dataset.pipeline
                if t.type == 'RandomCrop')
    assert config.model.decode_head.num_classes == void
    assert {config.model.decode_head.ignore_index,
            config.model.data_preprocessor.seg_pad_val, crop.ignore_index,
            config.train_dataloader.dataset.ignore_index,
            config.val_evaluator.ignore_index,
            config.test_evaluator.ignore_index} == {void}


# Models and backbones

@pytest.fixture(scope='module')
def backbone_files(tmp_path_factory):
    """Exported-looking files: torchvision names under ``state_dict``."""
    folder, files = tmp_path_factory.mktemp('backbones'), {}
    for depth in (18, 50):
        network = getattr(torchvision.models, f'resnet{depth}')(
            norm_layer=functools.partial(torch.nn.BatchNorm2d, momentum=1))
        # Statistics of real activations: with those of a fresh BN they would explode.
        network(torch.randn(4, 3, 64, 64))
        state = {key: value for key, value in network.state_dict().items()
                 if not key.startswith('fc.')}
        torch.save(dict(state_dict=state), folder / f'r{depth}.pth')
        files[depth] = str(folder / f'r{depth}.pth')
    return files


# The variants with few labels have the model of their base.
@each([path for path in CONFIGS if 'pct' not in path.name])
def test_a_backbone_file_without_prefix_fills_the_whole_backbone(path, backbone_files):
    config = load(path)
    file = backbone_files[config.model.backbone.depth]
    parts = {'backbone': config.model.backbone}
    if '-c4_' in path.name:
        parts['roi_head.shared_head'] = config.model.roi_head.shared_head
    for part in parts.values():
        assert part.init_cfg.type == 'Pretrained'
        assert part.init_cfg.checkpoint == config.pretrained
        part.init_cfg.checkpoint = file
    _import_custom(config)
    model = MODELS.build(config.model)
    model.init_weights()
    state = torch.load(file, weights_only=True)['state_dict']
    for name in parts:
        for key, value in model.get_submodule(name).state_dict().items():
            if not key.startswith('norm.'):  # the additional BN after res5
                torch.testing.assert_close(value, state[key], msg=f'{name}.{key}')


def _import_custom(config):
    if 'custom_imports' in config:
        from mmengine.utils import import_modules_from_strings
        import_modules_from_strings(**config.custom_imports)


def test_c4_heads_end_in_one_more_norm():
    config = load(ROOT / 'mmdet' / 'faster-rcnn_r50-c4_8xb2-24k_voc0712.py')
    _import_custom(config)
    head = config.model.roi_head.shared_head
    head.update(init_cfg=None, norm_cfg=dict(type='BN'))
    out = MODELS.build(head)(torch.randn(2, 1024, 14, 14))
    assert out.shape == (2, 2048, 7, 7)
    # Straight after a fresh BN in train mode each channel has mean 0, variance 1.
    assert out.mean((0, 2, 3)).abs().max() < 1e-4
    # The median: channels that hardly vary are held down by the epsilon of BN.
    variance = out.var((0, 2, 3), correction=0).median().item()
    assert variance == pytest.approx(1, abs=1e-2)


def test_a_forgotten_backbone_file_is_an_error_that_names_it():
    config = load(FCN)
    with pytest.raises(FileNotFoundError, match=re.escape(config.pretrained)):
        MODELS.build(config.model).init_weights()


def test_void_pixels_cost_nothing_and_do_not_count():
    config = load(FCN)
    config.model.backbone.init_cfg = None
    head = MODELS.build(config.model).decode_head
    labels = torch.randint(0, 12, (2, 1, 16, 16), generator=torch.manual_seed(0))
    from mmseg.structures import SegDataSample
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    logits = torch.randn(2, 11, 16, 16)
    other = torch.where(labels == 11, logits + 5 * torch.randn(2, 11, 16, 16), logits)
    loss = head.loss_by_feat(logits, samples)['loss_ce']
    torch.testing.assert_close(head.loss_by_feat(other, samples)['loss_ce'], loss)
    # By hand: the mean of -log p over the pixels that are not void.
    known = labels[:, 0] != 11
    log_probs = logits.log_softmax(1).permute(0, 2, 3, 1)[known]
    by_hand = -log_probs.gather(1, labels[:, 0][known][:, None]).mean()
    torch.testing.assert_close(loss, by_hand)

    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = config.metainfo
    guess = labels.clone()
    guess[labels == 11] = 3
    metric.process({}, [
        dict(pred_sem_seg=dict(data=g), gt_sem_seg=dict(data=t), img_path='x.jpg')
        for g, t in zip(guess, labels, strict=True)])
    assert metric.compute_metrics(metric.results)['mIoU'] == 100


# Small runs

@pytest.fixture(scope='module')
def camvid(tmp_path_factory):
    """Five frames in CamVid's layout: sky over road, a void strip between them."""
    root = tmp_path_factory.mktemp('camvid')
    labels = np.full((360, 480), 11, 'uint8')
    labels[:170], labels[190:] = 0, 3
    rng = np.random.default_rng(0)
    for split, count in (('train', 3), ('val', 1), ('test', 1)):
        (root / 'img_dir' / split).mkdir(parents=True)
        (root / 'ann_dir' / split).mkdir(parents=True)
        for i in range(count):
            image = labels[..., None] * 20 + rng.integers(0, 30, (360, 480, 3))
            name = f'{split}_{i:03d}'
            cv2.imwrite(str(root / 'img_dir' / split / f'{name}.jpg'), image)
            cv2.imwrite(str(root / 'ann_dir' / split / f'{name}.png'), labels)
    return root


@pytest.fixture(scope='module')
def bccd(tmp_path_factory):
    """BCCD's layout: three cells an image, as filled circles."""
    root = tmp_path_factory.mktemp('bccd')
    (root / 'images').mkdir()
    (root / 'annotations').mkdir()
    for split, count in (('train', 4), ('val', 1), ('test', 1)):
        images, boxes = [], []
        for i in range(count):
            image = np.full((480, 640, 3), 200, 'uint8')
            for category, x in enumerate((120, 320, 520), start=1):
                cv2.circle(image, (x, 240), 50, (60 * category, 0, 90), -1)
                boxes.append(dict(
                    id=len(boxes) + 1, image_id=i + 1, category_id=category, iscrowd=0,
                    bbox=[x - 50, 190, 100, 100], area=10000))
            name = f'{split}_{i}.jpg'
            cv2.imwrite(str(root / 'images' / name), image)
            images.append(dict(id=i + 1, file_name=name, width=640, height=480))
        categories = [dict(id=i, name=name)
                      for i, name in enumerate(('RBC', 'WBC', 'Platelets'), start=1)]
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(dict(
            images=images, annotations=boxes, categories=categories)))
    return root


def moved(config: Config, root: Path) -> Config:
    """The config on other data; its own data_root stands in several places."""
    text = str(config.to_dict()).replace(config.data_root, f'{root}/')
    return Config(ast.literal_eval(text))


@each([path for path in SMALL
       if 'r18' in path.name and not re.search('pct|shapes', path.name)])
def test_a_small_setting_trains_every_layer_and_validates(
        path, request, tmp_path, backbone_files):
    root = request.getfixturevalue('camvid' if 'camvid' in path.name else 'bccd')
    config = moved(load(path), root)
    config.merge_from_dict({
        'model.backbone.init_cfg.checkpoint': backbone_files[18],
        'work_dir': str(tmp_path), 'experiment_name': tmp_path.name,
        'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1,
        # Past the warm-up, or the first step would move nothing that can be seen.
        'param_scheduler': []})
    if 'bccd' in path.name:  # after one step no score reaches the usual 0.05
        test_cfg = config.model.test_cfg
        test_cfg.get('rcnn', test_cfg).score_thr = 0
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(config)
    runner.train()
    start = torch.load(backbone_files[18], weights_only=True)['state_dict']
    for key, value in runner.model.backbone.state_dict().items():
        assert torch.isfinite(value).all(), key
        assert not torch.equal(value, start[key]), f'{key} stood still'
    metric = 'mIoU' if 'camvid' in path.name else 'coco/bbox_mAP'
    assert 0 <= runner.message_hub.get_scalar(f'val/{metric}').current() <= 100


@pytest.mark.parametrize('share, step, count', [
    ('5pct', 20, 19), ('10pct', 10, 37), ('25pct', 4, 92)])
def test_few_camvid_labels_are_evenly_spaced(share, step, count, tmp_path):
    config = load(ROOT / 'mmseg' / FCN.name.replace('camvid', f'camvid-{share}'))
    for i in range(367):
        for folder, suffix in (('img_dir', 'jpg'), ('ann_dir', 'png')):
            file = tmp_path / folder / 'train' / f'{i:04d}.{suffix}'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    dataset = DATASETS.build(moved(config, tmp_path).train_dataloader.dataset)
    frames = [int(Path(dataset.get_data_info(i)['img_path']).stem)
              for i in range(len(dataset))]
    assert frames == list(range(0, 367, step)) and len(frames) == count


@pytest.mark.parametrize('share, step, count', [('10pct', 10, 21), ('25pct', 4, 52)])
def test_few_bccd_labels_are_evenly_spaced(share, step, count, tmp_path):
    config = load(ROOT / 'mmdet' / FASTER_RCNN.name.replace('bccd', f'bccd-{share}'))
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=640, height=480)
                for i in range(205)],
        annotations=[dict(id=i + 1, image_id=i, category_id=1, iscrowd=0,
                          bbox=[0, 0, 99, 99], area=9801) for i in range(205)],
        categories=[dict(id=i, name=name)
                    for i, name in enumerate(('RBC', 'WBC', 'Platelets'), start=1)])))
    dataset = DATASETS.build(moved(config, tmp_path).train_dataloader.dataset)
    image_ids = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    assert image_ids == list(range(0, 205, step)) and len(image_ids) == count


def test_plain_libraries_read_a_dumped_setting_without_mmcontrast(tmp_path):
    """README.md: how a setting reaches an mmseg whose config scope is not repaired."""
    load(FCN).dump(tmp_path / 'fcn.py')
    code = f"""
import sys
from mmengine.config import Config
config = Config.fromfile({str(tmp_path / 'fcn.py')!r})
assert config.model.decode_head.num_classes == 11
Config.fromfile({str(FASTER_RCNN)!r})
assert 'mmcontrast' not in sys.modules
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)

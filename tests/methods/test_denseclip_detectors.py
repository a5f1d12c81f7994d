"""DenseCLIP's detectors: what they derive, compute once, refuse, and run in mmdet."""
import os
import re
import sys
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.train import train
from mmcontrast.registry import MODELS

mmdet = pytest.importorskip('mmdet')
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.mask import BitmapMasks  # noqa: E402

from tests.helpers.processes import run_python  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs' / 'denseclip'
DEBUG = CONFIGS / 'denseclip-det_retinanet-tinyrn_1xb8-6e_shapes_debug.py'
MMDET = Path(mmdet.__file__).parent / '.mim'
NAMES = ('circle', 'red square', 'moon')


pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def tower() -> dict:
    return dict(
        class_names=NAMES,
        backbone=dict(type='mmcontrast.CLIPResNetWithAttention', layers=(1, 1, 1, 1),
                      width=4, embed_dims=24, num_heads=2, input_size=64),
        text_encoder=dict(type='CLIPTextEncoder', embed_dims=24, width=16, heads=2,
                          layers=2),
        context_decoder=dict(type='ContextDecoder', width=8, heads=2, layers=1))


def stock(path: str) -> ConfigDict:
    """Model of a config of mmdet, with what DenseCLIP replaces left out."""
    model = Config.fromfile(MMDET / 'configs' / path).model
    del model['backbone'], model['type']
    model.neck.in_channels, model.neck.out_channels = [16, 32, 64, 128], 32
    return model


def one_stage(path: str = '_base_/models/retinanet_r50_fpn.py', **changes):
    torch.manual_seed(0)
    cfg = stock(path)
    cfg.bbox_head.update(in_channels=32, feat_channels=32)
    return MODELS.build(ConfigDict(
        {**cfg, **tower(), 'type': 'DenseCLIPSingleStage', **changes}))


def two_stage(path: str, **changes):
    torch.manual_seed(0)
    cfg = stock(path)
    cfg.rpn_head.update(in_channels=32, feat_channels=32)
    cfg.roi_head.bbox_roi_extractor.out_channels = 32
    boxes = cfg.roi_head.bbox_head
    for head in boxes if isinstance(boxes, list) else [boxes]:
        head.update(in_channels=32, fc_out_channels=32)
    if 'mask_head' in cfg.roi_head:
        cfg.roi_head.mask_roi_extractor.out_channels = 32
        cfg.roi_head.mask_head.update(in_channels=32, conv_out_channels=32)
    return MODELS.build(ConfigDict(
        {**cfg, **tower(), 'type': 'DenseCLIPTwoStage', **changes}))


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def samples(counts=(2, 1)) -> list[DetDataSample]:
    size, out = (64, 96), []
    for count in counts:
        boxes = torch.tensor([[8., 8., 40., 40.], [30., 20., 90., 60.]])[:count]
        masks = torch.zeros(count, *size, dtype=torch.uint8)
        masks[:, 20:40, 30:40] = 1
        truth = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2])[:count],
                             masks=BitmapMasks(masks.numpy(), *size))
        out.append(DetDataSample(gt_instances=truth, metainfo=dict(
            img_shape=size, pad_shape=size, ori_shape=size, batch_input_shape=size,
            scale_factor=(1., 1.), img_id=0)))
    return out


@pytest.mark.parametrize('path', ['_base_/models/retinanet_r50_fpn.py',
                                  'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
                                  'atss/atss_r50_fpn_1x_coco.py'])
def test_any_one_stage_detector_is_guided(path):
    model = one_stage(path)
    assert isinstance(model, SingleStageDetector)
    # The texts decide how many classes there are, whatever the config says.
    assert model.bbox_head.num_classes == len(NAMES)
    assert model.neck.in_channels == [16, 32, 64, 128 + len(NAMES)]
    losses = model.train().loss(images(), samples())
    assert set(losses) >= {'loss_cls', 'loss_bbox', 'loss_seg'}
    found = model.eval().predict(images(), samples())
    assert all((x.pred_instances.labels < len(NAMES)).all() for x in found)


@pytest.mark.parametrize('path', [
    '_base_/models/faster-rcnn_r50_fpn.py', '_base_/models/mask-rcnn_r50_fpn.py',
    '_base_/models/cascade-mask-rcnn_r50_fpn.py'])
def test_any_two_stage_detector_is_guided(path):
    model = two_stage(path)
    assert isinstance(model, TwoStageDetector)
    heads = [module for name, module in model.roi_head.named_modules()
             if hasattr(module, 'num_classes')]
    assert heads and all(head.num_classes == len(NAMES) for head in heads)
    assert model.rpn_head.num_classes == 1
    losses = model.train().loss(images(), samples())
    assert {'loss_rpn_cls', 'loss_aux_seg'} <= set(losses)


def parts(losses: dict) -> torch.Tensor:
    return sum(x.sum() for loss in losses.values()
               for x in (loss if isinstance(loss, list) else [loss]))


@pytest.mark.parametrize('build', [
    one_stage, lambda: two_stage('_base_/models/faster-rcnn_r50_fpn.py')])
def test_a_training_step_runs_backbone_and_neck_once(build):
    model, calls = build().train(), []
    for module in (model.backbone, model.neck, model.prompting.context_decoder):
        module.register_forward_hook(lambda m, *_: calls.append(type(m).__name__))
    losses = model.loss(images(), samples())
    assert sorted(calls) == ['CLIPResNetWithAttention', 'ContextDecoder', 'FPN']
    parts({k: v for k, v in losses.items() if 'loss' in k}).backward()
    # Nothing waits for a gradient that never comes, as DDP would.
    assert [n for n, p in model.named_parameters()
            if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize('call', ['loss', 'predict'])
def test_methods_of_mmdet_get_the_images_and_extract_anew_afterwards(call, monkeypatch):
    model, given = one_stage().train(call == 'loss'), images()
    model.label_boxes_by(['moon', 'tree'])
    before, seen = getattr(SingleStageDetector, call), []

    def stop(self, batch_inputs, *args):
        seen.append(batch_inputs)
        before(self, batch_inputs, *args)
        raise RuntimeError('stop')

    monkeypatch.setattr(SingleStageDetector, call, stop)
    with pytest.raises(RuntimeError, match='stop'):
        getattr(model, call)(given, samples())
    assert seen[0] is given
    assert not torch.equal(model.extract_feat(given)[0], model.extract_feat(-given)[0])


def test_images_without_boxes_train_too():
    losses = one_stage().train().loss(images(), samples(counts=(0, 0)))
    parts(losses).backward()
    assert losses['loss_seg'] == 0 and torch.isfinite(parts(losses))


@pytest.mark.parametrize('init_heads, bias', [(True, -4.595), (False, 0.0)])
def test_heads_start_as_mmdet_does_it_or_as_released(init_heads, bias):
    model = one_stage(init_heads=init_heads)
    model.init_weights()
    # A prior of 1 %: log(0.01 / 0.99). The released code never sets it.
    found = model.bbox_head.retina_cls.bias.mean().item()
    assert found == pytest.approx(bias, abs=0.02)


def test_the_score_map_is_weighted():
    plain, half = (one_stage(aux_weight=w).eval().loss(images(), samples())['loss_seg']
                   for w in (1.0, 0.5))
    torch.testing.assert_close(half, plain / 2)


def test_a_plain_backbone_is_guided_through_an_attention_pool():
    model = one_stage(
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=16),
        attention_pool=dict(type='DenseAttentionPool', grid_size=2, num_heads=2))
    parts(model.train().loss(images(), samples())).backward()
    assert model.class_texts.contexts.grad.abs().sum() > 0


@torch.no_grad()
def test_classes_may_be_reworded_but_not_added_at_test_time():
    model = one_stage().eval()
    trained = model.extract_feat(images())[-1]
    model.set_classes('disc;red box;crescent')
    assert not torch.equal(trained, model.extract_feat(images())[-1])
    model.set_classes(None)
    assert torch.equal(trained, model.extract_feat(images())[-1])
    with pytest.raises(ValueError, match='boxes of 3 classes, set_classes got 2'):
        model.set_classes('disc;crescent')


def test_scores_and_their_loss_stay_in_single_precision_under_autocast():
    model = one_stage().train()
    with torch.autocast('cpu', torch.bfloat16):
        extracted = model.extract(images())
        loss = model.aux_loss(extracted.logits, samples(), (64, 96))
    assert extracted.features[0].dtype == torch.bfloat16
    assert extracted.logits.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(loss, one_stage().train().loss(
        images(), samples())['loss_seg'], rtol=0.02, atol=0)


def test_a_neck_without_room_for_the_score_map_is_rejected():
    with pytest.raises(ValueError, match='needs a neck'):
        one_stage(neck=None)
    with pytest.raises(ValueError, match='concat_index=7'):
        one_stage(concat_index=7)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('shapes'), train=16, val=4, size=64,
                       progress=False)


def debug_options(scenes: Path) -> dict:
    root = f'{scenes}/'
    val = f'{root}annotations/instances_val.json'
    options = {f'{split}_dataloader.dataset.data_root': root
               for split in ('train', 'val', 'test')}
    options |= {f'{split}_dataloader.num_workers': 0
                for split in ('train', 'val', 'test')}
    options |= {f'{split}_dataloader.persistent_workers': False
                for split in ('train', 'val', 'test')}
    # After a few steps no box is sure of itself.
    return options | {'val_evaluator.ann_file': val, 'test_evaluator.ann_file': val,
                      'model.test_cfg.score_thr': 0.0}


def test_training_and_mmdets_own_test_tool(scenes, tmp_path):
    options = debug_options(scenes) | {
        'visualizer.name': str(uuid.uuid4()), 'train_cfg.max_epochs': 2,
        'default_hooks.logger.interval': 1, 'test_dataloader.batch_size': 2,
        # mmdet's runtime draws one.
        'randomness.seed': 0}
    runner = train(str(DEBUG), str(tmp_path), cfg_options=options)
    history = runner.message_hub.get_scalar('train/loss').data[0]
    assert history[-1] < history[0]
    assert 'val/coco/bbox_mAP' in runner.message_hub.log_scalars
    # mmdet's script as it is: COCO metric, flips merged by DetTTAModel, drawn boxes.
    done = run_python(
        [sys.executable, MMDET / 'tools/test.py', runner.cfg.filename,
         tmp_path / 'epoch_2.pth', '--tta', '--work-dir', tmp_path / 'test',
         '--show-dir', 'drawn', '--cfg-options',
         *(f'{key}={value}' for key, value in debug_options(scenes).items())],
        capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r'coco/bbox_mAP: \S+', done.stdout + done.stderr)
    assert len(list((tmp_path / 'test').rglob('drawn/*.jpg'))) == 4

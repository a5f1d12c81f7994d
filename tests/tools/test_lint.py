"""Errors in real configs are found before anything is built, and no others."""
import os
import sys
from pathlib import Path

import mmdet
import mmpretrain
import mmseg
import pytest
from mmengine.config import Config

from mmcontrast.apis.config import UsageError, check_config, load_config
from mmcontrast.apis.lint import lint_config
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
OURS = sorted(path for folder in ('configs', 'projects/downstream',
                                  'projects/example_project/configs')
              for path in (ROOT / folder).rglob('*.py')
              if '_base_' not in path.parts and 'suites' not in path.parts)
PIXPRO = str(ROOT / 'configs/pixpro/pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py')
DETECTOR = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
DENSECLIP = str(ROOT / 'configs/denseclip'
                / 'denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256_debug.py')
SEGMENTOR = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'
THEIRS = {
    mmdet: """
        atss/atss_r50_fpn_1x_coco.py autoassign/autoassign_r50-caffe_fpn_1x_coco.py
        cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py
        centernet/centernet_r18_8xb16-crop512-140e_coco.py
        dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py
        deformable_detr/deformable-detr_r50_16xb2-50e_coco.py
        detectors/detectors_cascade-rcnn_r50_1x_coco.py
        dino/dino-4scale_r50_8xb2-12e_coco.py
        fpg/retinanet_r50_fpg_crop640_50e_coco.py
        libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py
        mask2former/mask2former_r50_8xb2-lsj-50e_coco.py
        rtmdet/rtmdet-ins_s_8xb32-300e_coco.py
        sabl/sabl-cascade-rcnn_r50_fpn_1x_coco.py ssd/ssd300_coco.py
        swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py
        vfnet/vfnet_x101-32x4d_fpn_ms-2x_coco.py
        yolo/yolov3_d53_8xb8-320-273e_coco.py yolox/yolox_s_8xb8-300e_coco.py""",
    mmseg: """
        deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py
        fcn/fcn_r101-d8_4xb2-amp-80k_cityscapes-512x1024.py
        mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py
        ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py
        pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py
        segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py
        sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py
        upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py
        swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py
        unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py""",
    mmpretrain: """
        barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py
        byol/byol_resnet50_16xb256-coslr-200e_in1k.py
        conformer/conformer-small-p32_8xb128_in1k.py
        convnext/convnext-tiny_32xb128_in1k.py
        densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py
        mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py
        mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py
        mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py
        regnet/regnetx-400mf_8xb128_in1k.py resnet/resnet50_8xb32-fp16_in1k.py
        swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py
        vision_transformer/vit-base-p16_64xb64_in1k.py""",
}


def of_package(package, name: str) -> Path:
    return Path(package.__file__).parent / '.mim/configs' / name


def found(config: str, options: dict) -> dict:
    """Place and message of everything that is found with these options."""
    cfg = load_config(config)
    cfg.merge_from_dict(options)
    return {issue.path: issue.message for issue in lint_config(cfg)}


def test_our_configs_have_no_errors(monkeypatch):
    # As its README says, for custom_imports.
    monkeypatch.syspath_prepend(ROOT / 'projects/example_project')
    assert len(OURS) > 70
    wrong = {path.name: issues for path in OURS
             if (issues := lint_config(Config.fromfile(path)))}
    assert not wrong


@pytest.mark.parametrize('package', THEIRS, ids=lambda package: package.__name__)
def test_sound_configs_of_other_libraries_pass(package):
    wrong = {}
    for name in THEIRS[package].split():
        issues = lint_config(Config.fromfile(of_package(package, name)))
        if issues:
            wrong[name] = issues
    assert not wrong


def test_errors_in_a_config_of_ours():
    messages = found(PIXPRO, {
        'train_dataloader.dataset.pipeline.0.siez': 64,
        'default_hooks.monitor.type': 'PretrainMonitorHok',
        'default_hooks.logger.interval': 'often',
        'optim_wrapper.optimizer.weight_decya': 0.1,
        'randomness.sead': 1})
    assert "did you mean 'size'?" in messages[
        'train_dataloader.dataset.pipeline[0].siez']
    assert "did you mean 'PretrainMonitorHook'?" in messages[
        'default_hooks.monitor.type']
    assert messages['default_hooks.logger.interval'] == (
        "found 'often' (str), LoggerHook (mmengine.hooks.logger_hook) takes int.")
    assert "did you mean 'weight_decay'?" in messages[
        'optim_wrapper.optimizer.weight_decya']
    assert "did you mean 'seed'?" in messages['randomness.sead']
    assert len(messages) == 5


def test_errors_in_a_detector_of_mmdet():
    cfg = load_config(DETECTOR)
    cfg.model.backbone.depht = cfg.model.backbone.pop('depth')
    del cfg.model.rpn_head['in_channels']
    cfg.model.roi_head.bbox_head.loss_cls.type = 'CrossEntropLoss'
    cfg.model.test_cfg.rcnn.socre_thr = cfg.model.test_cfg.rcnn.pop('score_thr')
    cfg.train_dataloader.dataset.pipeline[2].scael = (1333, 800)
    cfg.train_dataloader.batch_size = '8'
    cfg.train_cfg.max_epochs = 12.5
    cfg.optim_wrapper.optimizer.lr = '0.02'
    cfg.val_evaluator.type = 'CocoMetrics'
    messages = {f.path: f.message for f in lint_config(cfg)}
    expected = {
        'model.backbone.depht': "did you mean 'depth'?",
        'model.rpn_head': "needs the argument 'in_channels'",
        'model.roi_head.bbox_head.loss_cls.type': "did you mean 'CrossEntropyLoss'?",
        'model.test_cfg.rcnn.socre_thr': "did you mean 'score_thr'?",
        'train_dataloader.dataset.pipeline[2].scael': "did you mean 'scale'?",
        'train_dataloader.batch_size': 'takes int',
        'train_cfg.max_epochs': 'EpochBasedTrainLoop (mmengine.runner.loops) takes int',
        'optim_wrapper.optimizer.lr': 'SGD (torch.optim.sgd) takes float or Tensor',
        'val_evaluator.type': "did you mean 'CocoMetric'?"}
    assert set(messages) == set(expected)
    for path, part in expected.items():
        assert part in messages[path]


def test_errors_in_a_segmentor_of_mmseg():
    messages = found(SEGMENTOR, {
        'model.decode_head.num_clases': 19,
        'model.decode_head.dropout_ratio': '0.1',
        'model.backbone.type': 'ResNetV1d5',
        'train_dataloader.dataset.type': 'CityscapeDataset',
        'param_scheduler.0.pwer': 0.9,
        'custom_hooks': [dict(type='ResNet', depth=50)]})
    assert "did you mean 'num_classes'?" in messages['model.decode_head.num_clases']
    assert "did you mean 'ResNetV1" in messages['model.backbone.type']
    assert "did you mean 'CityscapesDataset'?" in messages[
        'train_dataloader.dataset.type']
    assert "did you mean 'power'?" in messages['param_scheduler[0].pwer']
    assert 'one of the MODELS, which cannot be used here' in messages[
        'custom_hooks[0].type']


def test_a_class_of_another_library_is_found_with_its_scope():
    messages = found(PIXPRO, {'model.backbone': dict(type='ResNeSt', depth=50)})
    assert "did you mean 'mm" in messages['model.backbone.type']


def test_an_argument_of_a_base_class_is_known_behind_kwargs():
    """EpochBasedTrainLoop's of DenseProbeHook and the like: one class hands on."""
    cfg = load_config(SEGMENTOR)
    cfg.model.decode_head.update(align_corners=True, kernel_size=3, conv_seg=None)
    paths = [issue.path for issue in lint_config(cfg)]
    # FCNHead takes kernel_size, BaseDecodeHead align_corners, nobody conv_seg.
    assert paths == ['model.decode_head.conv_seg']


def test_an_argument_of_a_part_is_known_behind_kwargs():
    """DenseCLIP hands the arguments of its text side on to the class of that part."""
    cfg = load_config(DENSECLIP)
    cfg.model.update(num_contexts=4, temprature=0.1, prompting='pre')
    messages = {issue.path: issue.message for issue in lint_config(cfg)}
    assert list(messages) == ['model.temprature']
    assert "did you mean 'temperature'?" in messages['model.temprature']


def test_all_errors_come_as_one_that_says_how_to_skip_them(tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text(f"_base_ = '{PIXPRO}'\n"
                    "optim_wrapper = dict(optimizer=dict(weight_decya=0.9))\n"
                    'train_cfg = dict(max_epoch=3)\n')
    with pytest.raises(UsageError) as caught:
        check_config(load_config(str(file)))
    text = str(caught.value)
    assert text.startswith(f'2 configuration errors in {file}')
    assert "did you mean 'weight_decay'?" in text
    assert "did you mean 'max_epochs'?" in text
    assert 'lint=dict(skip=[...])' in text
    check_config(load_config(str(file), {'lint': False}))
    cfg = load_config(str(file))
    cfg.lint = dict(skip=['optim_wrapper.*'])
    assert [issue.path for issue in lint_config(cfg)] == ['train_cfg.max_epoch']


def test_what_a_runner_needs_together_is_there_together():
    cfg = load_config(DETECTOR)
    cfg.pop('optim_wrapper')
    cfg.val_evaluator = None
    assert {issue.path: issue.message for issue in lint_config(cfg)} == {
        'optim_wrapper': 'train_dataloader, train_cfg, optim_wrapper go together; '
                         'missing (or None): optim_wrapper.',
        'val_evaluator': 'val_dataloader, val_cfg, val_evaluator go together; '
                         'missing (or None): val_evaluator.'}


def test_removing_a_hook_under_a_misspelled_name_is_an_error():
    messages = found(PIXPRO, {'default_hooks.chekpoint': None})
    assert "did you mean 'checkpoint'?" in messages['default_hooks.chekpoint']
    assert not found(PIXPRO, {'default_hooks.monitor': None})
    # A typo of the former name of a hook.
    messages = found(PIXPRO, {'default_hooks.finite_gard': None})
    assert "did you mean 'nonfinite_guard'?" in messages['default_hooks.finite_gard']
    assert not found(PIXPRO, {'default_hooks.nonfinite_guard': None})


def test_the_tools_stop_before_they_build_or_write_anything(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text("""
default_scope = 'mmcontrast'
model = dict(type='MomentumEncoder', modul=None)
test_dataloader = dict(batch_size=1, dataset=dict(type='ShapesDataset'),
                       sampler=dict(type='DefaultSampler', shufle=False))
test_cfg = dict()
test_evaluator = dict(type='mmengine.evaluator.DumpResults', out_file_path='x.pkl')
""")
    (tmp_path / 'some.pth').write_bytes(b'')
    done = run_python(
        [sys.executable, ROOT / 'tools/test.py', config, 'some.pth'],
        cwd=tmp_path, text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True)
    assert done.returncode == 1
    assert 'test_dataloader.sampler.shufle: DefaultSampler' in done.stderr
    assert "did you mean 'shuffle'?" in done.stderr
    assert 'Traceback' not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine.py', 'some.pth']

"""Errors in real configs are found before anything is built, and no others."""
import os
import sys
from pathlib import Path

import mmdet
import mmpretrain
import mmseg
import pytest
from mmengine.config import Config
from torch import nn

from mmcontrast.apis.config import UsageError, check_config, load_config
from mmcontrast.apis.lint import lint_config, misspelled_keys
from mmcontrast.apis.lint.top_level import leftover_keys
from mmcontrast.engine.optim.param_groups import unmatched_custom_keys
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


@pytest.mark.parametrize('wrong, right, value', [
    ('load_form', 'load_from', 'a.pth'), ('resuem', 'resume', True),
    ('visualiser', 'visualizer', dict(type='Visualizer')),
    ('custom_hoosk', 'custom_hooks', []),  # faults AA
    ('modle', 'model', dict(type='PixPro')), ('work_dri', 'work_dir', 'a'),
    ('trian_cfg', 'train_cfg', dict(max_epochs=3)), ('_bsae_', '_base_', ['a.py']),
    ('rundomness', 'randomness', dict(seed=3)), ('resumes', 'resume', None),
    ('evn_cfg', 'env_cfg', dict(cudnn_benchmark=True)),
    ('text_dataloader', 'test_dataloader', dict(batch_size=3)),
    ('test_evalutor', 'test_evaluator', dict(a=1))])
def test_one_edit_of_a_top_level_key_is_found(wrong, right, value):
    issue, = misspelled_keys(Config({wrong: value}))
    assert issue.path == wrong and f'did you mean {right!r}' in issue.message


@pytest.mark.parametrize('settings', [
    dict(mode='bilinear'), dict(models=dict(teacher=dict(type='A'))), dict(line=3),
    dict(enc_cfg=dict(type='ViT', depth=3)), dict(vae_cfg=dict(latent=3)),
    dict(text_cfg=dict(width=3), model=dict(type='CLIP', text_cfg=dict(width=4))),
    dict(text_cfg=dict(width=3), test_cfg=dict(type='TestLoop')),
    dict(seed_cfg=3, load_forms=['a', 'b'], text_cfg='a.json')], ids=str)
def test_a_variable_that_the_similar_key_could_not_hold_is_allowed(settings):
    assert not misspelled_keys(Config(settings))


def test_a_variable_that_is_used_may_have_any_name():
    text_cfg = dict(type='Text', width=3)
    assert not misspelled_keys(Config(dict(text_cfg=text_cfg, model=dict(t=text_cfg))))
    assert not misspelled_keys(Config(dict(num_classes=3, optimizer=1, img_scale=2)))


def from_file(tmp_path, base: str, text: str) -> dict:
    """Place and message of what is found in a config that inherits."""
    file = tmp_path / 'mine.py'
    file.write_text(f'_base_ = {base!r}\n{text}')
    return {issue.path: issue.message for issue in lint_config(Config.fromfile(file))}


@pytest.mark.parametrize('text, path, near', [
    # faults AA: the right name stands beside it, from the base.
    ('model = dict(test_cfg=dict(rcnn=dict(socre_thr=0.3)))',
     'model.test_cfg.rcnn.socre_thr', 'score_thr'),
    ('model = dict(test_cfg=dict(rpn=dict(nms_pres=100)))',
     'model.test_cfg.rpn.nms_pres', 'nms_pre'),
    ('model = dict(train_cfg=dict(rpn=dict(pos_wieght=1)))',
     'model.train_cfg.rpn.pos_wieght', 'pos_weight'),
    # faults AA: **kwargs that end in a call elsewhere.
    ('default_hooks = dict(checkpoint=dict(max_keep_ckpt=2))',
     'default_hooks.checkpoint.max_keep_ckpt', 'max_keep_ckpts'),
    ("custom_hooks = [dict(type='EMAHook', momentm=0.1)]", 'custom_hooks[0].momentm',
     'momentum'),
    ("custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', gama=9)]",
     'custom_hooks[0].gama', 'gamma'),
    ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomResize', "
     'scale=[(9, 9), (8, 8)], keep_ration=True)]))',
     'train_dataloader.dataset.pipeline[0].keep_ration', 'keep_ratio'),
    ("val_evaluator = dict(_delete_=True, type='mmseg.IoUMetric', iou_metric=['mIoU'])",
     'val_evaluator.iou_metric', 'iou_metrics'),
    ("train_dataloader = dict(dataset=dict(data_prefix=dict(imgs='x')))",
     'train_dataloader.dataset.data_prefix.imgs', 'img'),
    ("train_dataloader = dict(dataset=dict(metainfo=dict(clases=('a',))))",
     'train_dataloader.dataset.metainfo.clases', 'classes'),
    ('optim_wrapper = dict(clip_grad=dict(max_nrom=3))',
     'optim_wrapper.clip_grad.max_nrom', 'max_norm'),
    ("optim_wrapper = dict(clip_grad=dict(type='valu', clip_value=3))",
     'optim_wrapper.clip_grad.type', 'value'),
    ("env_cfg = dict(dist_cfg=dict(backnd='nccl'))", 'env_cfg.dist_cfg.backnd',
     'backend'),
    ('train_dataloader = dict(dataset=dict(filter_cfg=dict(min_sze=3)))',
     'train_dataloader.dataset.filter_cfg.min_sze', 'min_size'),
    ('default_hooks = dict(lgoger=dict(interval=5))', 'default_hooks.lgoger', 'logger'),
    ('default_hooks = dict(visualisation=dict(draw=True))',
     'default_hooks.visualisation', 'visualization'),
    # faults AA: paramwise_cfg.
    ('optim_wrapper = dict(paramwise_cfg=dict(custom_key=dict()))',
     'optim_wrapper.paramwise_cfg.custom_key', 'custom_keys'),
    ('optim_wrapper = dict(paramwise_cfg=dict(bias_decay_mul=0))',
     'optim_wrapper.paramwise_cfg.bias_decay_mul', 'bias_decay_mult'),
    ('optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mul=1))))',
     'optim_wrapper.paramwise_cfg.custom_keys.neck.lr_mul', 'lr_mult')])
def test_a_misspelled_setting_over_an_inherited_config(tmp_path, text, path, near):
    messages = from_file(tmp_path, DETECTOR, text)
    assert list(messages) == [path]
    assert f'did you mean {near!r}?' in messages[path]


@pytest.mark.parametrize('text', [
    "custom_hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]",
    "custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', gamma=9)]",
    'default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best="auto"))',
    'optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lars=1))))',
    "optim_wrapper = dict(clip_grad=dict(type='value', clip_value=3))",
    'optim_wrapper = dict(clip_grad=dict(max_norm=3, error_if_nonfinite=True))',
    "optim_wrapper = dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=512.))",
    "env_cfg = dict(dist_cfg=dict(backend='gloo', timeout=9, init_method='env://'))",
    'train_dataloader = dict(dataset=dict(filter_cfg=dict(bbox_min_size=3)))',
    "train_dataloader = dict(dataset=dict(metainfo=dict(classes=('a',), mine=1)))"])
def test_right_settings_over_an_inherited_config(tmp_path, text):
    assert not from_file(tmp_path, DETECTOR, text)


def test_a_path_in_skip_may_be_copied_from_the_message(tmp_path):
    text = ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', "
            'scale=(9, 9), keep_ration=True)]))\n')
    path, = from_file(tmp_path, DETECTOR, text)
    assert path == 'train_dataloader.dataset.pipeline[0].keep_ration'
    for skip in ([path], path, 'train_dataloader.*', '*.pipeline[?].keep_*'):
        assert not from_file(tmp_path, DETECTOR, f'{text}lint = dict(skip={skip!r})')
    assert 'lint.skpi' in from_file(tmp_path, DETECTOR, 'lint = dict(skpi=[])')


FORMER = dict(
    model=dict(type='mmdet.FasterRCNN'), optimizer=dict(type='SGD', lr=0.1),
    data=dict(samples_per_gpu=2, train=dict(type='CocoDataset')),
    lr_config=dict(policy='step'), runner=dict(type='EpochBasedRunner', max_epochs=2),
    checkpoint_config=dict(interval=1), resume_from='x.pth', total_epochs=2, seed=0)


def test_keys_of_mmcv_1_are_named_with_their_successors():
    """faults G: the doctor found no mistake."""
    cfg = Config(FORMER)
    messages = {i.path: i.message for i in lint_config(cfg) if 'mmcv 1.x' in i.message}
    assert list(messages) == [key for key in FORMER if key != 'model']
    for key, new in dict(
            data='train_dataloader, val_dataloader, test_dataloader',
            optimizer='optim_wrapper', lr_config='param_scheduler', runner='train_cfg',
            checkpoint_config='default_hooks.checkpoint').items():
        assert f'it is now {new}' in messages[key]


def test_half_of_a_migration_is_found_and_leftovers_are_not():
    cfg = load_config(DETECTOR)
    cfg.update(optimizer=dict(type='SGD'), data=dict(samples_per_gpu=2), seed=0,
               evaluation=dict(interval=1), total_epochs=9)
    assert not lint_config(cfg)
    cfg.lr_config = dict(policy='step')
    assert not lint_config(cfg)
    # faults G: without a word, although nothing reads them.
    assert [issue.path for issue in leftover_keys(cfg)] == [
        'data', 'evaluation', 'lr_config']
    cfg.pop('param_scheduler')
    assert [issue.path for issue in leftover_keys(cfg)] == ['data', 'evaluation']
    assert [issue.path for issue in lint_config(cfg)] == ['lr_config']


def test_arguments_and_types_of_former_versions_are_named_with_their_successors():
    cfg = load_config(DETECTOR)
    cfg.train_dataloader.samples_per_gpu = cfg.train_dataloader.pop('batch_size')
    cfg.train_dataloader.dataset.img_prefix = 'train2017'
    cfg.train_dataloader.dataset.pipeline[-1] = dict(type='DefaultFormatBundle')
    messages = {issue.path: issue.message for issue in lint_config(cfg)}
    loader = 'train_dataloader'
    assert "did you mean 'batch_size'" in messages[f'{loader}.samples_per_gpu']
    assert "did you mean 'data_prefix'" in messages[f'{loader}.dataset.img_prefix']
    last = len(cfg.train_dataloader.dataset.pipeline) - 1
    assert 'it is now PackDetInputs' in messages[
        f'{loader}.dataset.pipeline[{last}].type']


def test_a_type_without_its_scope_is_found_in_every_library():
    """faults G: no default_scope."""
    for name, library in dict(PixPro='mmcontrast', FasterRCNN='mmdet').items():
        assert f"did you mean '{library}.{name}'?" in str(lint_config(
            Config(dict(model=dict(type=name[:-2] + name[-1])))))
        message = {issue.path: issue.message for issue in lint_config(
            Config(dict(model=dict(type=name))))}['model.type']
        assert f"did you mean '{library}.{name}'?" in message
        assert f'default_scope={library!r}' in message


@pytest.mark.parametrize('stage', ['train', 'test'])
def test_a_config_without_anything_to_do_says_so(tmp_path, stage):
    """faults G: "`self._train_loop` should not be None"."""
    file = tmp_path / 'mine.py'
    file.write_text("model = dict(type='mmcontrast.ConvMLP', in_channels=3, "
                    'hidden_channels=4, out_channels=2)\n')
    with pytest.raises(UsageError, match=f'mine.py has nothing to {stage}: it defines '
                       f'none of {stage}_dataloader, {stage}_cfg, '):
        check_config(load_config(str(file)), stage)
    check_config(load_config(str(file)))


def test_keys_that_match_no_parameter_are_named():
    """faults AA: custom_keys=dict(bakbone=...)."""
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    wrapper = dict(optimizer=dict(type='SGD'), paramwise_cfg=dict(custom_keys={
        'bakbone': dict(lr_mult=0.1), '.head.bias': dict(lr_mult=2), 'head.wieght': {},
        'weight': {}}))
    first, second = unmatched_custom_keys(model, wrapper)
    assert "no parameter has 'bakbone' in its name: did you mean 'backbone'?" in first
    assert "'head.wieght' in its name: did you mean 'head.weight'?" in second
    assert len(unmatched_custom_keys(model, dict(a=wrapper, b=wrapper))) == 4
    assert not unmatched_custom_keys(model, dict(optimizer=dict(type='SGD')))


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

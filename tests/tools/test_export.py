"""tools/convert/export_backbone.py: plain libraries load what it writes."""
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcontrast.apis.convert.export_backbone import export_backbone, input_format
from mmcontrast.apis.loading import config_in_checkpoint
from mmcontrast.converters.detectron2 import Detectron2ResNet
from mmcontrast.converters.equality import randomized, stage_maps
from mmcontrast.io.checkpoint import read_checkpoint, write_checkpoint
from mmcontrast.io.config_text import parse_config_text
from mmcontrast.io.manifest import file_sha256
from mmcontrast.registry import MODELS

# Each network gets all its weights from a file or by drawing them anew.
pytestmark = pytest.mark.usefixtures('nan_weights')
ROOT = Path(__file__).parents[2]
RESNET18 = dict(type='mmpretrain.ResNet', depth=18, norm_eval=False)
SMALL_SWIN = dict(embed_dims=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])
SWIN = dict(type='mmpretrain.SwinTransformer', arch=SMALL_SWIN, window_size=4,
            pad_small_map=True)


class Pretrained:
    """A config and a checkpoint of PixPro with weights that all matter."""

    def __init__(self, folder: Path, backbone: dict, neck: dict | None = None):
        self.cfg = Config(dict(model=dict(
            type='PixPro', backbone=backbone, neck=neck,
            projector=dict(type='ConvMLP', hidden_channels=8, out_channels=8),
            propagation=dict(type='PixelPropagation'),
            loss=dict(type='PairConsistencyLoss'))))
        self.config, self.checkpoint = folder / 'config.py', folder / 'epoch_1.pth'
        self.cfg.dump(str(self.config))
        with DefaultScope.overwrite_default_scope('mmcontrast'):
            self.model = MODELS.build(self.cfg.model).eval()
        self.folder = folder
        self.model.load_state_dict(randomized(self.model.state_dict()))
        write_checkpoint(dict(state_dict=self.model.state_dict(),
                              meta=dict(cfg='', epoch=1)), self.checkpoint)

    def export(self, to: str, name: str = 'out.pth', **options) -> Path:
        self.report = export_backbone(self.config, self.checkpoint,
                                      self.folder / name, to, **options)
        return self.folder / name


@pytest.fixture(scope='module')
def resnet18(tmp_path_factory):
    return Pretrained(tmp_path_factory.mktemp('resnet18'), RESNET18)


@pytest.fixture(scope='module')
def swin(tmp_path_factory):
    return Pretrained(tmp_path_factory.mktemp('swin'), SWIN)


def assert_same_maps(source: nn.Module, target: nn.Module, size: int = 64):
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, got = stage_maps(source, image), stage_maps(target, image)
    assert list(expected) == list(got)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-4)


def pretrained(path: Path, **options) -> dict:
    return dict(type='Pretrained', checkpoint=str(path), **options)


@DefaultScope.overwrite_default_scope('mmdet')
def mmdet_retinanet(backbone: dict, channels: list, init_cfg=None) -> nn.Module:
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS as MMDET
    return MMDET.build(dict(
        type='RetinaNet', backbone=backbone, init_cfg=init_cfg,
        neck=dict(type='FPN', in_channels=channels, out_channels=16, num_outs=5),
        bbox_head=dict(
            type='RetinaHead', num_classes=2, in_channels=16, stacked_convs=1,
            feat_channels=16, anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
                ratios=[1.0], strides=[8, 16, 32, 64, 128]))))


@DefaultScope.overwrite_default_scope('mmseg')
def mmseg_fcn(backbone: dict, channels: int) -> nn.Module:
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS as MMSEG
    return MMSEG.build(dict(
        type='EncoderDecoder', backbone=backbone, decode_head=dict(
            type='FCNHead', in_channels=channels, channels=8, num_classes=2)))


@DefaultScope.overwrite_default_scope('mmpretrain')
def mmpretrain_classifier(backbone: dict) -> nn.Module:
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS as MMPRETRAIN
    return MMPRETRAIN.build(dict(type='ImageClassifier', backbone=backbone,
                                 neck=dict(type='GlobalAveragePooling')))


def test_resnet_in_an_mmdet_detector(resnet18):
    path = resnet18.export('mmdet')
    detector = mmdet_retinanet(
        dict(type='ResNet', depth=18, init_cfg=pretrained(path)), [64, 128, 256, 512])
    detector.init_weights()
    assert_same_maps(resnet18.model.backbone, detector.backbone)


def test_resnet_in_an_mmseg_segmentor(resnet18):
    path = resnet18.export('mmseg')
    segmentor = mmseg_fcn(
        dict(type='ResNet', depth=18, init_cfg=pretrained(path)), 512)
    segmentor.init_weights()
    assert_same_maps(resnet18.model.backbone, segmentor.backbone)


def test_resnet_in_an_mmpretrain_classifier(resnet18):
    path = resnet18.export('mmpretrain')
    classifier = mmpretrain_classifier(
        dict(type='ResNet', depth=18, init_cfg=pretrained(path)))
    classifier.init_weights()
    assert_same_maps(resnet18.model.backbone, classifier.backbone)


@pytest.mark.parametrize('depth', [18, 50])
def test_resnet_in_torchvision_misses_the_classifier_alone(tmp_path, depth):
    from torchvision import models
    source = Pretrained(tmp_path, dict(RESNET18, depth=depth))
    network = models.get_model(f'resnet{depth}', weights=None)
    weights = torch.load(source.export('torchvision'), weights_only=True)
    missing = network.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ['fc.weight', 'fc.bias']
    assert not missing.unexpected_keys
    assert_same_maps(source.model.backbone, network)


def test_safetensors_for_torchvision_say_where_they_come_from(resnet18):
    from torchvision import models
    path = resnet18.export('torchvision', 'out.safetensors')
    said = str(resnet18.report).strip().splitlines()[-1]
    network = models.resnet18()
    # The command that the report names.
    assert f"safetensors.torch.load_file('{path}')" in said
    assert not network.load_state_dict(load_file(path), strict=False).unexpected_keys
    assert_same_maps(resnet18.model.backbone, network)
    meta = read_checkpoint(path)['meta']
    assert meta['exported_from'] == 'epoch_1.pth' and meta['branch'] == 'online'
    assert meta['source_sha256'] == file_sha256(resnet18.checkpoint)
    assert parse_config_text(meta['backbone'])['backbone']['depth'] == 18


def test_the_target_and_not_the_suffix_says_how_weights_are_written(resnet18):
    path = resnet18.export('mmdet', 'out.pkl')
    assert 'conv1.weight' in torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('name', ['out.pth', 'out.safetensors'])
def test_resnet_in_timm(resnet18, name):
    import timm
    path = resnet18.export('timm', name)
    network = timm.create_model('resnet18', num_classes=0, checkpoint_path=str(path))
    assert_same_maps(resnet18.model.backbone, network)


def test_resnet_in_detectron2_is_a_pickle_of_arrays_that_it_matches_by_name(resnet18):
    path = resnet18.export('detectron2', 'out.pkl')
    read = pickle.loads(path.read_bytes())
    # What its loader asks of a .pkl, so that names may follow backbone.bottom_up.
    assert read['__author__'] and read['matching_heuristics'] is True
    assert all(isinstance(value, np.ndarray) for value in read['model'].values())
    backbone = resnet18.model.backbone.state_dict()
    for ours, theirs in (
            ('conv1.weight', 'stem.conv1.weight'),
            ('bn1.running_mean', 'stem.conv1.norm.running_mean'),
            ('layer1.0.conv2.weight', 'res2.0.conv2.weight'),
            ('layer4.1.bn2.bias', 'res5.1.conv2.norm.bias'),
            ('layer2.0.downsample.0.weight', 'res3.0.shortcut.weight'),
            ('layer3.0.downsample.1.weight', 'res4.0.shortcut.norm.weight')):
        assert (read['model'][theirs] == backbone[ours].numpy()).all()
    network = Detectron2ResNet(18)
    network.load_state_dict({
        key: torch.from_numpy(value) for key, value in read['model'].items()})
    assert_same_maps(resnet18.model.backbone, network)
    said = str(resnet18.report)
    assert f'WEIGHTS: {path}' in said and 'DEPTH: 18' in said
    assert 'RES2_OUT_CHANNELS: 64' in said and 'FORMAT: RGB' in said


def test_detectron2_strides_where_the_source_does(tmp_path):
    caffe = Pretrained(tmp_path, dict(type='mmdet.ResNet', depth=50, style='caffe'))
    path = caffe.export('detectron2', 'out.pkl')
    assert 'STRIDE_IN_1X1: True' in str(caffe.report)
    weights = pickle.loads(path.read_bytes())['model']
    network = Detectron2ResNet(50, stride_in_1x1=True)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    assert_same_maps(caffe.model.backbone, network)


def test_what_detectron2_cannot_read_is_rejected(resnet18, tmp_path):
    with pytest.raises(ValueError, match=r'detectron2 reads .pkl files.*out.pth'):
        resnet18.export('detectron2', 'out.pth')
    deep = Pretrained(tmp_path, dict(type='mmpretrain.ResNetV1d', depth=18))
    with pytest.raises(ValueError, match='stem of three convolutions.*or timm'):
        deep.export('detectron2', 'out.pkl')
    assert not (tmp_path / 'out.pkl').exists()


@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet'])
def test_a_deep_stem_goes_to_every_library_that_has_one(tmp_path, library):
    import timm
    source = Pretrained(tmp_path, dict(type=f'{library}.ResNetV1d', depth=18))

    def backbone(to):
        return dict(type='ResNetV1d', depth=18, init_cfg=pretrained(
            source.export(to, f'{to}.pth')))
    for model in (mmdet_retinanet(backbone('mmdet'), [64, 128, 256, 512]),
                  mmseg_fcn(backbone('mmseg'), 512),
                  mmpretrain_classifier(backbone('mmpretrain'))):
        model.init_weights()
        assert_same_maps(source.model.backbone, model.backbone)
    network = timm.create_model('resnet18d', num_classes=0,
                                checkpoint_path=str(source.export('timm')))
    assert_same_maps(source.model.backbone, network)
    with pytest.raises(ValueError, match='has no ResNet.*mmpretrain or timm'):
        source.export('torchvision')


def test_a_deep_stem_without_pooled_shortcuts(tmp_path):
    import timm
    source = Pretrained(tmp_path, dict(type='mmseg.ResNetV1c', depth=50))
    network = timm.create_model('resnet50c', num_classes=0,
                                checkpoint_path=str(source.export('timm')))
    assert_same_maps(source.model.backbone, network)
    source.export('mmdet')
    assert "type='ResNet', deep_stem=True, depth=50" in source.report.summary()


def test_what_a_library_cannot_express_is_rejected(tmp_path):
    caffe = Pretrained(tmp_path, dict(type='mmdet.ResNet', depth=50, style='caffe'))
    caffe.export('mmseg')
    with pytest.raises(ValueError, match="torchvision has no ResNet.*'style': 'caffe'"):
        caffe.export('torchvision', 'other.pth')
    assert not (tmp_path / 'other.pth').exists()


def test_other_strides_leave_the_weights_as_they_are(tmp_path):
    import timm
    source = Pretrained(tmp_path, dict(RESNET18, strides=(1, 2, 2, 1),
                                       dilations=(1, 1, 1, 2)))
    network = timm.create_model('resnet18', num_classes=0,
                                checkpoint_path=str(source.export('timm')))
    assert "'strides': (1, 2, 2, 1)" in source.report.summary()
    source.model.backbone.layer4[0].conv1.stride = (2, 2)
    source.model.backbone.layer4[0].downsample[0].stride = (2, 2)
    for block in source.model.backbone.layer4:
        block.conv1.dilation = block.conv1.padding = (1, 1)
    assert_same_maps(source.model.backbone, network)


# Build 3: an FPN detector's anchors do not fit strides=(1, 2, 2, 1), which was printed.
@pytest.mark.parametrize('settings', [
    dict(strides=(1, 2, 2, 1)), dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    dict(num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 2), out_indices=(0, 1, 2))])
def test_strides_are_printed_that_fit_the_target(tmp_path, settings):
    source = Pretrained(tmp_path, dict(RESNET18, **settings))
    for to in ('mmdet', 'mmpretrain'):
        path = source.export(to)
        said = source.report.summary()
        printed = eval(said[said.index('backbone=dict(') + len('backbone='):])
        assert printed.get('strides', (1, 2, 2, 2)) in ((1, 2, 2, 2), (1, 2, 2))
        assert set(printed.get('dilations', (1,))) == {1}
        assert f"'strides': {settings['strides']}" in said
        assert 'verified without' in said
        assert set(read_checkpoint(path)['state_dict']) == set(
            source.model.backbone.state_dict())
    # What segments reads the last map, at the stride it was trained with.
    source.export('mmseg')
    assert f'strides={settings["strides"]}, ' in source.report.summary()
    assert 'for heads of several maps (FPN, UPerNet)' in source.report.summary()


def test_relatives_of_a_resnet_lose_their_strides_too(tmp_path):
    source = Pretrained(tmp_path, dict(
        type='mmdet.ResNeXt', depth=50, groups=2, base_width=4, strides=(1, 2, 2, 1)))
    source.export('mmdet')
    assert 'verified without' in source.report.summary()
    assert 'strides=' not in source.report.summary()


# Build 3: mean, std and channel order travel with the weights, as the page says.
@pytest.mark.parametrize('preprocessor, expected', [
    (None, ('123.675, 116.28, 103.53', '58.395, 57.12, 57.375', 'RGB')),
    (dict(mean=(1, 2, 3.5), std=(4, 5, 6)), ('1, 2, 3.5', '4, 5, 6', 'RGB')),
    (dict(type='mmdet.DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6]),
     ('1, 2, 3', '4, 5, 6', 'BGR')),
    (dict(type='mmseg.SegDataPreProcessor', mean=[1, 2, 3], std=[4, 5, 6],
          bgr_to_rgb=True), ('1, 2, 3', '4, 5, 6', 'RGB')),
    (dict(type='mmpretrain.SelfSupDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6],
          to_rgb=True), ('1, 2, 3', '4, 5, 6', 'RGB'))])
def test_preprocessing_is_known_from_the_config(preprocessor, expected):
    if preprocessor and 'type' not in preprocessor:
        preprocessor = dict(preprocessor, type='TwoViewPreprocessor')
    model = dict(type='PixPro', backbone=RESNET18, projector=dict(
        type='ConvMLP', hidden_channels=8, out_channels=8), propagation=dict(
        type='PixelPropagation'), loss=dict(type='PairConsistencyLoss'))
    if preprocessor:
        model['data_preprocessor'] = preprocessor
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        found = input_format(Config(dict(model=model)))
    assert tuple(found.values()) == expected
    assert list(found) == ['mean', 'std', 'channel_order']


def test_preprocessing_travels_with_the_weights(resnet18):
    expected = dict(mean='123.675, 116.28, 103.53', std='58.395, 57.12, 57.375',
                    channel_order='RGB')
    detectron2 = pickle.loads(resnet18.export('detectron2', 'out.pkl').read_bytes())
    assert 'PIXEL_MEAN: [123.675, 116.28, 103.53]' in str(resnet18.report)
    for meta in (read_checkpoint(resnet18.export('mmseg'))['meta'],
                 read_checkpoint(resnet18.export('timm', 'out.safetensors'))['meta'],
                 detectron2['meta']):
        assert expected.items() <= meta.items()
    # tools/analysis/evaluate_backbone.py normalizes images by it.
    read = config_in_checkpoint(resnet18.export('mmdet')).model.data_preprocessor
    assert read == dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                        bgr_to_rgb=True)
    assert ('Trained on RGB images with mean (123.675, 116.28, 103.53) and std (58.395'
            in resnet18.report.summary())


def test_a_default_scope_left_by_another_run_does_no_harm(resnet18):
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert resnet18.export('mmdet').exists()


def test_branches_hold_different_weights(resnet18):
    def first(branch):
        path = resnet18.export('mmdet', branch=branch)
        return read_checkpoint(path)['state_dict']['conv1.weight']
    model = resnet18.model
    assert torch.equal(first('momentum'), model.momentum.backbone.conv1.weight)
    assert torch.equal(first('online'), model.backbone.conv1.weight)
    # PixPro says that its online branch is the one to use.
    assert torch.equal(first(None), model.backbone.conv1.weight)
    assert not torch.equal(first('online'), first('momentum'))


def test_the_file_is_plain_tensors_and_text(resnet18):
    path = resnet18.export('mmdet')
    read = torch.load(path, weights_only=True)      # with torch's own list alone
    assert set(read) == {'state_dict', 'meta'}
    assert all(type(value) is str for value in read['meta'].values())
    assert len(read['meta']['source_sha256']) == 64
    weights = torch.load(resnet18.export('torchvision'), weights_only=True)
    assert all(isinstance(value, Tensor) for value in weights.values())


def test_the_report_names_every_key_and_how_to_load(resnet18):
    path = resnet18.export('mmdet')
    text = str(resnet18.report)
    assert 'layer4.1.bn2.running_var' in text
    assert f'{len(resnet18.model.backbone.state_dict())} keys converted' in text
    assert ("backbone=dict(type='ResNet', depth=18, init_cfg=dict(type='Pretrained', "
            f"checkpoint='{path}'))") in text


def test_the_tool_runs_and_ends_errors_with_a_sentence(resnet18, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['export_backbone.py', *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools/convert/export_backbone.py'),
                       run_name='__main__')
    dst = resnet18.folder / 'tool.pth'
    run(resnet18.config, resnet18.checkpoint, dst, '--to', 'torchvision')
    assert 'Equal outputs with random weights' in capsys.readouterr().out
    assert dst.exists()
    with pytest.raises(SystemExit, match='none.pth'):
        run(resnet18.config, resnet18.folder / 'none.pth', dst, '--to', 'timm')


def test_checkpoints_that_do_not_fit_are_named(resnet18, tmp_path):
    state = resnet18.model.state_dict()
    write_checkpoint({k: v for k, v in state.items() if 'momentum' not in k},
                     tmp_path / 'a.pth')
    files = resnet18.config, tmp_path / 'a.pth', tmp_path / 'b.pth'
    with pytest.raises(KeyError, match=r'no weight of the momentum back.*projector'):
        export_backbone(*files, 'mmdet', branch='momentum')
    del state['backbone.layer1.0.conv1.weight']
    write_checkpoint(state, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='does not fit the backbone of .*config.py'):
        export_backbone(*files, 'mmdet')
    assert not (tmp_path / 'b.pth').exists()


def test_swin_in_mmdet_mmseg_and_mmpretrain(swin):
    def backbone(to, **arch):
        # As in a config file: mmdet reads init_cfg.checkpoint as an attribute.
        return ConfigDict(type='SwinTransformer', window_size=4, **arch, init_cfg=
                          pretrained(swin.export(to, f'{to}.pth')))
    detector = mmdet_retinanet(backbone('mmdet', **SMALL_SWIN), [24, 48, 96, 192])
    segmentor = mmseg_fcn(backbone('mmseg', **SMALL_SWIN), 192)
    classifier = mmpretrain_classifier(backbone('mmpretrain', arch=SMALL_SWIN))
    for model in (detector, segmentor, classifier):
        model.init_weights()
        assert_same_maps(swin.model.backbone, model.backbone, 160)


def test_swin_in_timm(swin):
    import timm
    network = timm.create_model(
        'swin_tiny_patch4_window7_224', embed_dim=24, depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8), window_size=4, img_size=256, num_classes=0,
        checkpoint_path=str(swin.export('timm')))
    assert_same_maps(swin.model.backbone, network, 256)


def test_output_norms_that_a_library_lacks_are_not_lost_in_silence(tmp_path):
    source = Pretrained(tmp_path, dict(SWIN, out_indices=(2, 3)))
    with pytest.raises(ValueError, match=r'no place for norm2.weight \[96\]'):
        source.export('timm')
    source.export('timm', drop=['norm2.*'])
    assert ('norm2.weight', "--drop 'norm2.*'") in source.report.dropped
    source.export('mmdet')
    assert not source.report.dropped


def test_swin_in_torchvision_names_the_libraries_that_have_it(swin):
    with pytest.raises(ValueError, match='export to mmdet, mmseg, mmpretrain or timm'):
        swin.export('torchvision')


def test_other_backbones_go_to_their_own_library(tmp_path):
    source = Pretrained(tmp_path, dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8] * 4),
        gap_before_final_norm=False))
    path = source.export('mmpretrain')
    classifier = mmpretrain_classifier(dict(
        type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8] * 4),
        gap_before_final_norm=False, init_cfg=pretrained(path)))
    classifier.init_weights()
    assert_same_maps(source.model.backbone, classifier.backbone)
    with pytest.raises(ValueError, match="as it is: type='mmpretrain.ConvNeXt'"):
        source.export('mmdet')


@pytest.fixture(scope='module')
def fpn(tmp_path_factory):
    return Pretrained(
        tmp_path_factory.mktemp('fpn'),
        dict(type='mmdet.ResNet', depth=18, norm_eval=False),
        dict(type='mmdet.FPN', out_channels=16, num_outs=5))


def test_a_neck_goes_to_mmdet_with_its_backbone(fpn):
    path = fpn.export('mmdet', with_neck=True)
    detector = mmdet_retinanet(dict(type='ResNet', depth=18), [64, 128, 256, 512],
                               pretrained(path))
    detector.init_weights()
    with torch.no_grad():
        maps = fpn.model.backbone(torch.ones(1, 3, 64, 64))
        expected = fpn.model.neck(maps)
        got = detector.eval().extract_feat(torch.ones(1, 3, 64, 64))
    for ours, theirs in zip(expected, got, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


def test_a_neck_without_a_place_is_rejected(fpn, resnet18):
    with pytest.raises(ValueError, match="got 'mmdet.FPN' to mmseg"):
        fpn.export('mmseg', with_neck=True)
    with pytest.raises(ValueError, match='got None to mmdet'):
        resnet18.export('mmdet', with_neck=True)

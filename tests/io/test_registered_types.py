"""Config text of a file builds registered classes and imports nothing else."""
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from mmcontrast.apis.loading import config_in_checkpoint
from mmcontrast.errors import UserValueError
from mmcontrast.io.config_text import parse_config_text
from mmcontrast.io.registered_types import registered_only
from mmcontrast.io.safe_loading import use_safe_loading

ROOT = Path(__file__).parents[2]
COMMAND = "dict(type='subprocess.check_call', args=['touch', '{trace}'])"

# faults Y rows 1 and 2, and siblings: whatever mmengine imports, substitutes or
# evaluates in a text that is pure data.
HOSTILE = {
    'model': f'model = {COMMAND}',
    'deep': f"model = dict(type='mmdet.RetinaNet', a=[dict(b=({COMMAND}, 1))])",
    'function': "model = dict(type='os.system', command='touch {trace}')",
    'pickle': "model = dict(type='mmengine.fileio.load', file='{trace}.pkl')",
    'short': "model = dict(type='mmengine.mkdir_or_exist', dir_name='{trace}')",
    'module': "model = dict(type='evil_module')",
    'scoped': "model = dict(type='evil_scope.Net')",
    '_scope_': "model = dict(type='PixPro', _scope_='evil_scope')",
    'default': "default_scope = 'evil_scope'",
    'imports': "custom_imports = dict(imports=['evil_module'])",
    'one import': "custom_imports = dict(imports='evil_module')",
    'collate': "test_dataloader = dict(collate_fn='os.system')",
    'nms': """model = dict(test_cfg=dict(nms=dict(
        type="__import__('os').system('touch {trace}')")))""",
    'motion': """model = dict(warp_mode="__import__('os').system('touch {trace}')")""",
    'builtin': "model = dict(nms=dict(type='exec'))",
    'comment': '# {{{{$X:|\\n__import__("os").system("touch${{IFS}}{trace}")#}}}}',
    'variable': "a = '{{{{$HOME:x}}}}'",
    'key': "a = {{'{{{{$HOME:x}}}}': 1}}"}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Modules that a config may lead to; none of them is to be imported."""
    (tmp_path / 'evil_module.py').write_text('')
    (tmp_path / 'evil_scope').mkdir()
    for name in ('__init__', 'registry'):
        (tmp_path / 'evil_scope' / f'{name}.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert not [name for name in sys.modules if name.startswith('evil_')]
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('name', HOSTILE)
def test_text_that_is_handed_to_mmengine_reaches_registered_classes_only(
        evil, warned, name):
    text = 'kept = dict(a=1)\n' + HOSTILE[name].format(trace=evil / 'trace')
    hub = dict(runtime_info=dict(cfg=text))
    torch.save(dict(state_dict={}, message_hub=hub, meta=dict(cfg=text)),
               evil / 'a.pth')
    use_safe_loading()
    read = CheckpointLoader.load_checkpoint(str(evil / 'a.pth'))
    # As mmengine's inferencers do it.
    found = Config.fromstring(read['message_hub']['runtime_info']['cfg'], '.py')
    assert read['meta']['cfg'] == read['message_hub']['runtime_info']['cfg']
    assert found.kept == dict(a=1)
    rest = str(found._cfg_dict)
    for word in ('check_call', 'os.', 'evil', 'touch', 'mkdir', 'fileio', 'exec', '$'):
        assert word not in rest
    if name != 'comment':
        assert 'only registered classes are built' in warned[0] and len(warned) == 1


def test_what_is_left_out_is_named_by_its_path():
    settings = parse_config_text(
        "model = dict(type='PixPro', head=dict(type='os.mkdir', path='x'))\n"
        "hooks = [dict(type='EMAHook'), dict(type='subprocess.run')]\n"
        "custom_imports = dict(imports=['mmcontrast', 'elsewhere'])")
    kept, left_out = registered_only(settings)
    assert kept == dict(model=dict(type='PixPro'), hooks=[dict(type='EMAHook')])
    assert left_out == [
        "model.head.type='os.mkdir'", "hooks[1].type='subprocess.run'",
        "custom_imports={'imports': ['mmcontrast', 'elsewhere']}"]


@pytest.mark.parametrize('config', [
    'configs/pixpro/pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py',
    'configs/denseclip/denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256.py',
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
    'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py',
    'mmpretrain::resnet/resnet18_8xb32_in1k.py'])
def test_configs_of_every_library_stay_as_they_are(config):
    if '::' in config:
        pytest.importorskip(config.partition('::')[0])
        from mmengine.hub import get_config
        settings = get_config(config).to_dict()
    else:
        settings = Config.fromfile(ROOT / config).to_dict()
    assert registered_only(settings) == (settings, [])


@pytest.mark.parametrize('kind', [
    'mmcontrast.models.momentum.MomentumEncoder', 'torch.optim.adamw.AdamW',
    'torch.optim.AdamW', 'mmengine.hooks.EMAHook', 'mmengine.dataset.pseudo_collate',
    'mmcontrast.TrustedRunner', 'NoSuchNet', 'mmcontrast.NoSuchNet', 'nms',
    'torchvision/Resize', 'mmcontrast.DenseCLIPSegmentor'])
def test_full_paths_former_and_unknown_names_stay(kind):
    settings = dict(model=dict(type=kind, dtype='float32'))
    if kind.endswith('MomentumEncoder'):
        # A class of ours, but none that a config can build.
        assert registered_only(settings) == ({}, [f'model.type={kind!r}'])
    else:
        assert registered_only(settings) == (settings, [])


def test_a_backbone_is_not_built_from_such_text_either(evil):
    # faults Y row 1, sibling: tools/analysis/evaluate_backbone.py probe CHECKPOINT.
    text = f'model = dict(backbone={COMMAND})'.format(trace=evil / 'trace')
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), evil / 'a.pth')
    with pytest.raises(UserValueError, match=(
            "a.pth: the config it carries names model.backbone.type='subprocess.ch")):
        config_in_checkpoint(str(evil / 'a.pth'))


def test_an_inferencer_of_mmdet_runs_no_command(evil):
    # faults Y row 1.
    apis = pytest.importorskip('mmdet.apis')
    text = HOSTILE['model'].format(trace=evil / 'trace')
    torch.save(dict(state_dict={}, meta=dict(cfg=text),
                    message_hub=dict(runtime_info=dict(cfg=text))), evil / 'a.pth')
    use_safe_loading()
    with pytest.raises(AttributeError, match='model'):
        apis.DetInferencer(weights=str(evil / 'a.pth'), device='cpu')

"""Names in configs: found lazily, and a typo is answered with what comes close."""
import sys

import pytest
from mmengine import MODELS as ROOT_MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmcontrast import registry
from mmcontrast.registry import HOOKS, MODELS, UnknownTypeError
from mmcontrast.utils import register_all_modules


@pytest.fixture
def our_scope():
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        yield


def test_a_typo_names_the_closest_type():
    with pytest.raises(UnknownTypeError) as caught:
        MODELS.build(dict(type='PixProo'))
    message = str(caught.value)
    assert "'PixProo' is not in the mmcontrast::model registry" in message
    assert "did you mean 'PixPro'?" in message
    # KeyError would show its text in quotes, with \n and \' escaped.
    assert not message.startswith('"')


def test_a_typo_is_found_through_the_root_registry_too(our_scope):
    """The Runner builds from mmengine's roots, in the default scope."""
    with pytest.raises(KeyError, match="did you mean 'PixPro'"):
        ROOT_MODELS.build(dict(type='PixProo'))


def test_case_is_no_obstacle_to_the_suggestion():
    with pytest.raises(KeyError, match="did you mean 'PixPro'"):
        MODELS.build(dict(type='pixprO'))


def test_a_typo_behind_another_scope_is_looked_up_there():
    pytest.importorskip('mmdet')
    with pytest.raises(KeyError) as caught:
        MODELS.build(dict(type='mmdet.MaskRCN'))
    assert 'in the mmdet::model registry' in str(caught.value)
    assert "'mmdet.MaskRCNN'" in str(caught.value)


def test_a_name_of_another_library_without_its_scope_leads_to_its_scope():
    pytest.importorskip('mmdet')
    assert MODELS.get('mmdet.MaskRCNN').__name__ == 'MaskRCNN'
    with pytest.raises(KeyError, match="did you mean 'mmdet.MaskRCNN'"):
        MODELS.get('MaskRCNN')


def test_a_library_that_is_not_there_is_named():
    with pytest.raises(KeyError, match='needs mmnowhere, which cannot be imported'):
        MODELS.get('mmnowhere.Thing')


def test_a_hopeless_name_shows_what_there_is():
    with pytest.raises(KeyError, match=r'it holds .*PixPro.*custom_imports'):
        MODELS.get('zzzzzzzz')


def test_mmengine_types_are_found_from_our_scope():
    assert HOOKS.get('CheckpointHook').__module__.startswith('mmengine')
    assert 'CheckpointHook' in HOOKS
    assert 'NoSuchHook' not in HOOKS


def test_every_location_can_be_imported():
    register_all_modules(init_default_scope=False)


def test_every_registry_that_the_runner_asks_has_a_child_of_ours():
    """A missing child makes mmengine warn at each start and skip did-you-mean."""
    import mmengine.registry as roots
    asked = {'RUNNERS', 'LOOPS', 'HOOKS', 'DATASETS', 'DATA_SAMPLERS', 'TRANSFORMS',
             'MODELS', 'OPTIMIZERS', 'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS',
             'PARAM_SCHEDULERS', 'METRICS', 'EVALUATOR', 'VISUALIZERS', 'VISBACKENDS',
             'LOG_PROCESSORS', 'FUNCTIONS'}
    for name in asked:
        ours = getattr(registry, name)
        assert getattr(roots, name).children['mmcontrast'] is ours
        assert ours._locations, f'{name} has no locations'


REGISTRIES = [value for value in vars(registry).values()
              if isinstance(value, registry.Registry)]


def test_every_registry_looks_into_the_methods():
    assert len(REGISTRIES) > 20
    for ours in REGISTRIES:
        assert 'mmcontrast.methods' in ours._locations, ours.name


@pytest.mark.parametrize('former', registry.FORMER_NAMES)
def test_a_former_name_leads_to_the_class_of_today(former, our_scope):
    current = registry.FORMER_NAMES[former]
    holders = [ours for ours in REGISTRIES if current in ours]
    assert len(holders) == 1
    kind = holders[0].get(current)
    assert holders[0].get(former) is holders[0].get(f'mmcontrast.{former}') is kind
    # As the Runner does it, from mmengine's root in the scope of the config.
    with holders[0].parent.switch_scope_and_registry('mmcontrast') as asked:
        assert asked.get(former) is kind


def test_a_class_of_the_user_with_a_former_name_is_found(our_scope):
    @ROOT_MODELS.register_module(name='CentreCrops')
    class Own:
        pass
    try:
        assert MODELS.get('CentreCrops') is Own
    finally:
        del ROOT_MODELS.module_dict['CentreCrops']


# Configs of the neighbors, inherited by scope, and a value that each is known for.
SCOPED = {
    'mmcontrast::_base_/runtime.py': lambda c: c.log_processor.type == 'LogProcessor',
    'mmseg::_base_/models/fcn_r50-d8.py': lambda c: c.model.type == 'EncoderDecoder',
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py': lambda c: c.model.type == 'MaskRCNN',
    'mmpretrain::_base_/models/resnet50.py': lambda c: c.model.backbone.depth == 50,
}


@pytest.mark.parametrize('base', SCOPED)
def test_a_config_inherits_by_scope(base, tmp_path):
    pytest.importorskip(base.partition('::')[0])
    file = tmp_path / 'config.py'
    file.write_text(f'_base_ = {base!r}\nresume = True\n')
    config = Config.fromfile(file)
    assert SCOPED[base](config)
    assert config.resume is True


def test_an_inherited_file_is_found_without_reading_metafiles(monkeypatch, tmp_path):
    pytest.importorskip('mmdet')
    read = []
    monkeypatch.setattr('mmengine.config.utils.load', lambda path: read.append(path))
    file = tmp_path / 'config.py'
    file.write_text("_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'\n")
    assert Config.fromfile(file).model.type == 'MaskRCNN'
    assert not read


def test_a_file_that_no_package_has_is_named(tmp_path):
    pytest.importorskip('mmdet')
    file = tmp_path / 'config.py'
    file.write_text("_base_ = 'mmdet::_base_/models/mask-rcnn_r5.py'\n")
    with pytest.raises(FileNotFoundError, match='mask-rcnn_r5.py'):
        Config.fromfile(file)


def test_the_hub_finds_our_configs():
    from mmengine.hub import get_config
    assert get_config('mmcontrast::_base_/runtime.py').default_scope == 'mmcontrast'


def test_an_inherited_model_is_built_in_the_scope_it_comes_from(tmp_path, our_scope):
    pytest.importorskip('mmseg')
    file = tmp_path / 'config.py'
    file.write_text("_base_ = 'mmseg::_base_/models/fcn_r50-d8.py'\n"
                    "model = dict(backbone=dict(depth=18), pretrained=None)\n")
    model = ROOT_MODELS.build(Config.fromfile(file).model)
    assert type(model.decode_head).__module__.startswith('mmseg')


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet', 'mmpretrain'])
def test_our_parts_are_found_whatever_the_default_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        layer = MODELS.build(dict(
            type='ConvMLP', in_channels=3, hidden_channels=4, out_channels=2))
        assert MODELS.build(dict(type='mmpretrain.ResNet', depth=18)).depth == 18
    assert layer.out_channels == 2


def test_an_announced_class_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / 'announced_here.py').write_text(
        'from mmcontrast.registry import MODELS\n'
        '@MODELS.register_module()\nclass AnnouncedHere: ...\n')
    monkeypatch.syspath_prepend(tmp_path)
    MODELS.announce('announced_here', 'AnnouncedHere')
    assert 'announced_here' not in sys.modules
    with pytest.raises(KeyError, match="did you mean 'AnnouncedHere'"):
        MODELS.get('AnnouncedHear')
    assert MODELS.get('mmcontrast.AnnouncedHere').__name__ == 'AnnouncedHere'


def test_an_announced_class_whose_library_is_missing_names_it(tmp_path, monkeypatch):
    (tmp_path / 'announced_there.py').write_text('import mmseg_of_nobody.models')
    monkeypatch.syspath_prepend(tmp_path)
    MODELS.announce('announced_there', 'AnnouncedThere')
    with pytest.raises(KeyError, match="'AnnouncedThere' needs mmseg_of_nobody, which"):
        MODELS.get('AnnouncedThere')

"""Released PropVG checkpoints and pretrained BEiT-3 files become ours."""
import re

import pytest
import torch

pytest.importorskip('mmdet')
from mmcontrast.apis.convert import convert_official
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.propvg import released
from mmcontrast.methods.propvg.convert import convert, infer_model
from mmcontrast.methods.propvg.names import our_key
from mmcontrast.registry import MODELS
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case
from tools.convert.official import main

SMALL = dict(
    type='PropVG', encoder=dict(
        type='BEiT3', image_size=32, embed_dims=64, depth=2, num_heads=1,
        feedforward=48, vocab_size=40, max_text_positions=12),
    tokenizer=dict(type='BEiT3Tokenizer', model_file='shapes', max_tokens=6),
    head=dict(type='PropVGHead', channels=32, num_queries=5))
# Of the small model, to fill what it does not have.
UNUSED = dict.fromkeys((
    'vis_enc.beit3.vision_embed.mask_token', 'head.decoder_transformer.level_embeds',
    'head.query_linear_scoring.bias', 'head.nt_embed.layers.0.weight'), (3,))
# Functions of the release that a test replaces.
ORIGINAL = {}


def released_names():
    """Names of the golden case, with all copies of the shared heads."""
    names = set(Case('whole_model').meta['params'])
    return names | {re.sub(r'(_embed)\.0\.', rf'\1.{i}.', name) for name in names
                    if name.startswith(('head.class_embed.', 'head.bbox_embed.'))
                    for i in (1, 2)}


@pytest.fixture(scope='module')
def small():
    """A released checkpoint of a small model, with existence."""
    with torch.device('meta'):
        shapes = {name: value.shape
                  for name, value in MODELS.build(SMALL).state_dict().items()}
    weights = {}
    for name in sorted(released_names()):
        first = re.sub(r'_embed\.\d\.', '_embed.0.', name)
        if our_key(first) in shapes:
            weights[name] = fill.fill_value(first, shapes[our_key(first)])
    assert len({our_key(name) for name in weights} - {None}) == len(shapes)
    weights['head.detrloss.criterion.empty_weight'] = torch.tensor([1, 0.1])
    return weights | fill.fill_state_dict(UNUSED)


def pretrained(weights):
    """The encoder as BEiT-3 files have it, with a head of pretraining."""
    found = {name.removeprefix('vis_enc.'): value for name, value in weights.items()
             if name.startswith('vis_enc.')}
    return found | {'mim_head.weight': torch.zeros(4, 64)}


def test_every_released_tensor_of_the_full_model_has_one_place():
    shapes = Case('whole_model').meta['params']
    with torch.device('meta'):
        weights = {name: torch.empty(shape) for name, shape in shapes.items()}
    norm = 'head.dist_head.SegAttn.norm1.weight'
    weights[norm] = torch.full(shapes[norm], 1.5)
    for name in weights:
        if name != norm and 'dist_head' in name and 'norm' in name:
            weights[name] = torch.ones(shapes[name])
    model_cfg = infer_model(weights)
    assert model_cfg['encoder'] == dict(
        type='BEiT3', image_size=64, patch_size=16, embed_dims=768, depth=12,
        num_heads=12, feedforward=3072, vocab_size=1000, max_text_positions=1024)
    assert model_cfg['head'] == dict(type='PropVGHead', channels=256, num_queries=20,
                                     num_layers=3, with_existence=True)
    with torch.device('meta'):
        ours = MODELS.build(model_cfg).state_dict()
    named = {our_key(name): shape for name, shape in shapes.items()}
    named.pop(None)
    assert named == {name: list(value.shape) for name, value in ours.items()}


def test_a_small_model_is_converted_and_its_outputs_are_equal(small):
    conversion = convert(small)
    model, report = conversion.model, conversion.report
    assert model['head'] == dict(type='PropVGHead', channels=32, num_queries=5,
                                 num_layers=3, with_existence=True)
    assert model['encoder'] | dict(patch_size=16) == dict(
        SMALL['encoder'], patch_size=16)
    assert model['tokenizer']['max_tokens'] == 50
    for name, value in conversion.state_dict.items():
        theirs, = (key for key, ours, _ in report.rows if ours == name)
        assert torch.equal(value, small[theirs]), name
    MODELS.build(model).load_state_dict(conversion.state_dict)
    dropped = dict(report.dropped)
    assert dropped['head.class_embed.2.bias'] == 'the same as head.class_embed.0.bias'
    assert set(UNUSED) < set(dropped) and not report.unset
    assert len(report.rows) + len(dropped) == len(small)
    equal = [line for line in report.checks if 'Equal outputs' in line]
    assert [line.partition(':')[0] for line in equal] == 2 * ['Encoder'] + 2 * ['Head']
    for name in ('logits', 'boxes', 'refer', 'exists', 'mask_logits'):
        assert name in equal[2]


def test_a_branch_that_was_never_trained_is_left_out(small):
    weights = dict(small)
    for name in weights:
        if 'dist_head' in name and '.norm' in name:
            weights[name] = torch.full_like(weights[name], name.endswith('weight'))
    conversion = convert(weights)
    assert conversion.model['head']['with_existence'] is False
    assert conversion.model['tokenizer']['max_tokens'] == 20
    assert not any('discrimination' in name for name in conversion.state_dict)
    dropped = dict(conversion.report.dropped)
    assert dropped['head.dist_head.query_nt.weight'] == (
        'the model has no existence branch')
    # A config may ask for it nevertheless, to train it.
    checks = convert(weights, SMALL).report.checks
    assert any('was never trained' in line for line in checks)


@pytest.mark.parametrize('part, wrong, where', [
    ('_both', lambda apply, w, name, x, split: ORIGINAL['_both'](
        apply, w, name, x, split + 1), 'image'),
    ('_pyramid', lambda w, x: ORIGINAL['_pyramid'](w, x.flip(1)), 'logits'),
    ('_prior_layer', lambda w, x, keys, values, scores: ORIGINAL['_prior_layer'](
        w, x, values, values, scores), 'exists')])
def test_the_check_finds_another_computation(small, part, wrong, where, monkeypatch):
    monkeypatch.setitem(ORIGINAL, part, getattr(released, part))
    monkeypatch.setattr(released, part, wrong)
    with pytest.raises(ValueError, match='Equality check with weights of the file: '
                                         f'{where} differs'):
        convert(small)


def test_copies_of_a_shared_head_must_be_equal(small):
    weights = dict(small)
    weights['head.bbox_embed.1.layers.2.bias'] = torch.zeros(4)
    with pytest.raises(ValueError, match='bbox_embed.1.layers.2.bias differs from '
                                         'head.bbox_embed.0.layers.2.bias'):
        convert(weights)


def test_lost_and_missing_keys_are_named(small):
    weights = dict(small)
    weights['head.other.weight'] = weights.pop('head.refer_adapter.weight')
    with pytest.raises(ValueError) as error:
        convert(weights)
    assert 'no place for head.other.weight' in str(error.value)
    assert 'nothing for head.refer_adapter.weight' in str(error.value)


def test_a_config_with_another_variant_is_not_the_released_model(small):
    head = dict(SMALL['head'], sentence_pooling='masked_max')
    with pytest.raises(ValueError, match="sentence_pooling='reference'.*'masked_max'.*"
                                         'load_from'):
        convert(small, dict(SMALL, head=head))


def test_other_files_are_rejected(small):
    with pytest.raises(ValueError, match=r'lacks beit3\.text_embed.*found backbone\.'):
        convert({'backbone.conv1.weight': torch.zeros(1)})
    lone = {name: value for name, value in small.items() if name.startswith('vis')}
    with pytest.raises(ValueError, match=r'lacks head\.query_embed\.weight'):
        convert(lone)


def test_the_tool_reads_a_file_of_the_release(small, tmp_path, capsys):
    torch.save(dict(
        state_dict={f'module.{name}': value for name, value in small.items()},
        optimizer=dict(state={}), lr=5e-4, epoch=11), tmp_path / 'PropVG-small.pth')
    main(['propvg', str(tmp_path / 'PropVG-small.pth'), str(tmp_path / 'ours.pth')])
    printed = capsys.readouterr().out
    assert ' 0 not in the file.' in printed and 'keep max_tokens=50' in printed
    assert 'Not weights, not converted: epoch, lr, optimizer.' in printed
    ours = read_checkpoint(tmp_path / 'ours.pth')
    assert 'PropVGHead' in ours['meta']['model']
    MODELS.build(SMALL).load_state_dict(ours['state_dict'])


def test_the_model_of_a_config_is_filled_without_its_other_files(small, tmp_path):
    model = dict(
        SMALL, tokenizer=dict(SMALL['tokenizer'], model_file='pretrained/gone.spm'),
        encoder=dict(SMALL['encoder'], init_cfg=dict(
            type='BEiT3Pretrained', checkpoint='pretrained/gone.zip')),
        head=dict(SMALL['head'], with_existence=False))
    (tmp_path / 'config.py').write_text(f'model = {model!r}\n')
    torch.save(dict(state_dict=small), tmp_path / 'released.pth')
    report = convert_official('propvg', tmp_path / 'released.pth',
                              tmp_path / 'ours.pth', tmp_path / 'config.py')
    dropped = dict(report.dropped)
    assert 'head.dist_head.query_nt.weight' in dropped
    assert not any('exists' in line for line in report.checks)


def test_a_pretrained_beit3_becomes_an_encoder(small, tmp_path):
    torch.save(dict(model=pretrained(small)), tmp_path / 'beit3.zip')
    main(['propvg', str(tmp_path / 'beit3.zip'), str(tmp_path / 'encoder.pth')])
    encoder = MODELS.build(dict(SMALL['encoder'], init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'))))
    encoder.init_weights()
    conversion = convert(pretrained(small))
    assert conversion.model == dict(SMALL['encoder'], patch_size=16)
    assert len(conversion.report.dropped) == 2
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, conversion.state_dict[name]), name


@pytest.mark.parametrize('value', [
    torch.zeros(()), torch.zeros(3), torch.zeros(0, 64),
    torch.zeros(40, 64, dtype=torch.int8)])
@pytest.mark.parametrize('key', ['vis_enc.beit3.text_embed.weight',
                                 'vis_enc.beit3.vision_embed.proj.weight',
                                 'head.query_embed.weight'])
def test_tensors_of_another_kind_are_named(small, key, value):
    with pytest.raises(ValueError, match=f'{key} must be a floating-point tensor of'):
        convert(small | {key: value})

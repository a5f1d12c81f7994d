"""Tokens, text tower and converted text weights against DenseCLIP's code."""

import pytest
import torch

from mmcontrast.models.clip_weights import load_clip_state
from mmcontrast.models.text import CLIPTextEncoder, class_list, tokenize
from tests.helpers.clip_files import write_script_archive
from tests.helpers.denseclip_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')


@pytest.mark.parametrize('name', ['tokens_ade20k_5', 'tokens_coco_5', 'tokens_misc_77'])
def test_tokens_are_those_of_the_reference(name):
    case = Case(name)
    ids = tokenize(case.meta['inputs']['texts'], case.meta['config']['context_length'])
    case.check(dict(ids=ids))


@pytest.mark.parametrize('name, source', [
    ('tokens_ade20k_5', 'ade'), ('tokens_ade20k_5', 'mmseg.ADE20KDataset'),
    ('tokens_coco_5', 'coco'), ('tokens_coco_5', 'mmdet.CocoDataset')])
def test_datasets_by_name_give_the_tokens_of_the_reference(name, source):
    pytest.importorskip('mmseg')
    pytest.importorskip('mmdet')
    Case(name).check(dict(ids=tokenize(class_list(source), 5)))


def test_text_tower_with_contexts():
    case = Case('text_context_encoder')
    encoder = CLIPTextEncoder(context_length=case.meta['config']['context_length'])
    encoder.load_state_dict(case.state())
    contexts = case.input('contexts').requires_grad_()
    out = encoder(torch.tensor(case.meta['inputs']['ids']), contexts)
    (out * case.input('grad_weight')).sum().backward()
    case.check(dict(out=out, d_contexts=contexts.grad))


def made_up_text_weights(case):
    """The text half of the case's archive, and a landmark of the other half."""
    shapes = case.meta['archive_state']
    case.meta['archive_state'] = {
        key: shape for key, shape in shapes.items()
        if not key.startswith('visual.') or key == 'visual.conv1.weight'}
    return case.archive()


@pytest.mark.parametrize('name, embed_dims', [
    ('convert_seg_rn50', 1024), ('convert_seg_vitb16', 512)])
def test_text_half_of_an_openai_archive_converts(name, embed_dims, tmp_path):
    case = Case(name)
    path = tmp_path / 'clip.pt'
    write_script_archive(made_up_text_weights(case), path)
    encoder = CLIPTextEncoder(embed_dims=embed_dims, context_length=13)
    encoder.load_clip(load_clip_state(path))
    ours = {f'text_encoder.{key}': value for key, value in encoder.state_dict().items()}
    table = {key: entry for key, entry in case.outputs['table']['value'].items()
             if key.startswith('text_encoder.')}
    assert {key: list(value.shape) for key, value in ours.items()} == {
        key: entry['shape'] for key, entry in table.items()}
    for key, entry in table.items():
        assert ours[key].double().norm().item() == pytest.approx(entry['l2'], rel=1e-5)
    case.check({key: ours[key] for key in (
        'text_encoder.positional_embedding', 'text_encoder.text_projection')})

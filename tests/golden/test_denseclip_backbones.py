"""CLIP's image towers against the numbers of DenseCLIP's reference implementation."""
import pytest
import torch

from mmcontrast.models.backbones import (
    CLIPResNetWithAttention,
    CLIPVisionTransformer,
    DenseAttentionPool,
)
from tests.helpers.denseclip_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')


@pytest.mark.parametrize(('name', 'pos_mode'), [
    ('attnpool_interp', 'resize'), ('attnpool_crop', 'crop')])
def test_attention_pool(name, pos_mode):
    case = Case(name)
    config = case.meta['config']
    pool = DenseAttentionPool(
        config['embed_dim'], config['output_dim'], config['num_heads'],
        config['spacial_dim'], pos_mode).eval()
    pool.load_state_dict(case.state())
    x = case.input('x').requires_grad_()
    whole, local = pool(x)
    (local * case.input('grad_weight')).sum().backward()
    case.check({'global': whole, 'local': local, 'd_x': x.grad,
                'd_pos': pool.positional_embedding.grad})


@torch.no_grad()
def outputs(backbone, case: Case, prefix: str) -> dict:
    """Outputs by the names of a case, whose first map is ``prefix``."""
    letter, first = prefix
    backbone.load_state_dict(case.state())
    *maps, (whole, local) = backbone.eval()(case.input('img'))
    named = {f'{letter}{int(first) + i}': x for i, x in enumerate(maps)}
    assert len(named) == 4
    return {'global': whole, 'local': local, **named}


def test_resnet50():
    case = Case('clip_resnet50')
    backbone = CLIPResNetWithAttention(
        'RN50', input_size=case.meta['config']['input_resolution'])
    case.check(outputs(backbone, case, 'c2'))


def test_vit_b16():
    case = Case('clip_vit_b16')
    config = case.meta['config']
    backbone = CLIPVisionTransformer(
        'ViT-B-16', input_size=config['input_resolution'], with_embeddings=True,
        drop_path=config['drop_path_rate'])
    assert list(backbone.out_indices) == config['out_indices']
    case.check(outputs(backbone, case, 'f0'))


@pytest.mark.parametrize(('name', 'table', 'missing'), [
    ('convert_seg_rn50', 'attnpool.positional_embedding', 0),
    ('convert_det_rn50', 'attnpool.positional_embedding', 0),
    # Norms and convolutions have 2 tensors, the batch norm 5: 11, 4, 2, 2 in the taps.
    ('convert_seg_vitb16', 'positional_embedding', 19)])
def test_image_tower_of_an_openai_archive(name, table, missing):
    case = Case(name)
    case.meta['archive_state'] = {
        key: shape for key, shape in case.meta['archive_state'].items()
        if key.startswith('visual.')}
    size = case.meta['config']['input_resolution']
    tower = case.meta['config']['model']
    backbone = (
        CLIPVisionTransformer(tower, input_size=size, with_embeddings=True)
        if tower.startswith('ViT') else
        CLIPResNetWithAttention(tower, input_size=size, pos_mode='crop'))
    report = backbone.load_clip(case.archive())
    assert (report.resized, len(report.missing), report.skipped) == (
        (table,), missing, ())
    state = backbone.state_dict()
    case.check({f'backbone.{table}': state[table]})
    # Taps are not in the archive: the reference's are as random as ours.
    wanted = {key.removeprefix('backbone.'): value
              for key, value in case.outputs['table']['value'].items()
              if key.startswith('backbone.') and '.fpn' not in key}
    assert set(wanted) == set(report.loaded)
    for key, value in wanted.items():
        assert list(state[key].shape) == value['shape']
        assert float(state[key].double().norm()) == pytest.approx(
            value['l2'], rel=1e-5, abs=1e-9), key

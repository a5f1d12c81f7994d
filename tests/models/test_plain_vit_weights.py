"""PlainViT with weights of open_clip and timm: the same numbers, and what does not fit.
"""
from functools import partial

import pytest
import timm
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors.torch import save_file
from torch import nn

from mmcontrast.models import timm_weights
from mmcontrast.models.backbones import CLIPResNet, PlainViT
from mmcontrast.models.backbones.positions import fit_grid
from mmcontrast.registry import MODELS

SIZES = dict(layers=3, width=32, heads=2, patch_size=16, pos_grid=4)
CLIP = dict(SIZES, embed_dims=24, norm_eps=1e-5, pre_norm=True, activation='gelu')
TIMM = dict(SIZES, activation='gelu')


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def perturbed(model: nn.Module) -> nn.Module:
    """Zero biases and unit scales would hide where they go."""
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def open_clip_tower(activation=nn.GELU) -> VisionTransformer:
    torch.manual_seed(0)
    return perturbed(VisionTransformer(
        64, 16, 32, layers=3, heads=2, mlp_ratio=4, output_dim=24,
        act_layer=activation))


def saved_clip(tower: nn.Module, path) -> str:
    torch.save({f'visual.{key}': value for key, value in tower.state_dict().items()},
               path)
    return str(path)


def timm_vit(**more) -> nn.Module:
    torch.manual_seed(0)
    return perturbed(timm.models.VisionTransformer(**{**dict(
        img_size=64, patch_size=16, embed_dim=32, depth=3, num_heads=2, num_classes=7,
        class_token=False, global_pool='avg', fc_norm=False), **more}))


def built(options: dict, kind: str, checkpoint) -> PlainViT:
    """As in a config: every rank builds the model and calls init_weights."""
    vit = MODELS.build(dict(type='PlainViT', **options, init_cfg=dict(
        type=kind, checkpoint=str(checkpoint))))
    vit.init_weights()
    return vit.eval()


# The same numbers

@pytest.mark.parametrize(('activation', 'name'), [
    (nn.GELU, 'gelu'), (QuickGELU, 'quick_gelu')])
@torch.no_grad()
def test_patch_tokens_are_those_of_open_clip_without_its_class_token(
        activation, name, tmp_path):
    theirs, tokens = open_clip_tower(activation), []
    theirs.transformer.register_forward_pre_hook(
        lambda _, args, __: ((args[0][:, 1:], *args[1:]), __), with_kwargs=True)
    theirs.ln_post.register_forward_hook(lambda _, __, out: tokens.append(out))
    first = theirs(images())    # projects the first token, now a patch
    vit = built(dict(CLIP, activation=name, with_projection=True), 'CLIPPretrained',
                saved_clip(theirs, tmp_path / 'clip.pt'))
    feat, = vit(images())
    torch.testing.assert_close(feat.flatten(2).mT, tokens[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        vit.project(feat, dim=1)[:, :, 0, 0], first, rtol=1e-4, atol=1e-5)
    assert not vit.conv1.bias.any()


@pytest.mark.parametrize('more', [
    dict(), dict(init_values=0.5), dict(act_layer=partial(nn.GELU, approximate='tanh')),
    dict(global_pool='map', num_classes=0)],
    ids=['plain', 'layer scale', 'tanh', 'attention pool'])
@torch.no_grad()
def test_patch_tokens_are_those_of_timm(more, tmp_path):
    theirs = timm_vit(**more)
    save_file(theirs.state_dict(), tmp_path / 'vit.safetensors')
    options = dict(TIMM, activation='gelu_tanh' if 'act_layer' in more else 'gelu')
    feat, = built(options, 'TimmPretrained', tmp_path / 'vit.safetensors')(images())
    torch.testing.assert_close(feat.flatten(2).mT, theirs.forward_features(images()),
                               rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('prefix', [dict(), dict(reg_tokens=4)])
@torch.no_grad()
def test_class_and_register_tokens_of_timm_are_dropped(prefix, tmp_path):
    theirs = timm_vit(class_token=True, global_pool='token', **prefix)
    torch.save(theirs.state_dict(), tmp_path / 'vit.pth')
    alone = timm_vit()
    state = {key: value for key, value in theirs.state_dict().items()
             if key in alone.state_dict()}
    alone.load_state_dict(dict(state, pos_embed=state['pos_embed'][:, -16:]))
    feat, = built(TIMM, 'TimmPretrained', tmp_path / 'vit.pth')(images())
    torch.testing.assert_close(feat.flatten(2).mT, alone.forward_features(images()),
                               rtol=1e-4, atol=1e-5)


# What is taken over

def clip_state(tower=None) -> dict:
    tower = tower or open_clip_tower()
    return {f'visual.{key}': value for key, value in tower.state_dict().items()}


def test_positions_of_another_grid_are_resized():
    vit, state = PlainViT(**{**CLIP, 'pos_grid': 6}), clip_state()
    report = vit.load_clip(state)
    assert report.resized == ('positional_embedding',)
    torch.testing.assert_close(
        vit.positional_embedding.data,
        fit_grid(state['visual.positional_embedding'][1:], 6, 6))


def test_what_is_left_out_is_reported():
    report = PlainViT(**CLIP).load_clip(clip_state())
    assert set(report.skipped) == {'class_embedding', 'proj'}
    assert not report.missing and not report.resized
    report = PlainViT(**CLIP, out_indices=(1,)).load_clip(clip_state())
    assert {key.rpartition('.')[0].removeprefix('transformer.resblocks.')[:1]
            for key in report.skipped} == {'', 'l', '2'}


def test_a_timm_model_is_taken_from_its_library_by_name(monkeypatch):
    names = []

    def create_model(name, pretrained):
        names.append((name, pretrained))
        return timm_vit()

    monkeypatch.setattr(timm, 'create_model', create_model)
    vit = built(TIMM, 'TimmPretrained', 'vit_base_patch16_224.augreg_in21k')
    assert names == [('vit_base_patch16_224.augreg_in21k', True)]
    torch.testing.assert_close(vit.ln_post.weight, timm_vit().norm.weight)
    with pytest.raises(ValueError, match="activation='gelu', .*set activation='gelu'"):
        built(SIZES, 'TimmPretrained', 'vit_base_patch16_224.augreg_in21k')
    with pytest.raises(ValueError, match='set norm_eps=1e-06'):
        built(dict(TIMM, norm_eps=1e-5), 'TimmPretrained', 'vit_base_patch16_224.dino')


def test_a_name_of_open_clip_tells_the_activation(monkeypatch):
    monkeypatch.setattr('mmcontrast.models.clip_weights.load_clip_state',
                        lambda _: clip_state())
    with pytest.raises(ValueError, match="set activation='quick_gelu'"):
        built(CLIP, 'CLIPPretrained', 'ViT-B-16/openai')
    built(CLIP, 'CLIPPretrained', 'ViT-B-16/laion2b_s34b_b88k')


# What does not fit

@pytest.mark.parametrize(('options', 'message'), [
    (dict(pre_norm=False), 'have a layer norm before the blocks: set pre_norm=True'),
    (dict(norm_eps=1e-6), 'set norm_eps=1e-05'),
    (dict(conv_stem=True), 'Leave conv_stem out to use them'),
    (dict(layers=2), 'without a place here: transformer.resblocks.2'),
    (dict(layers=4), 'without a value in the file: transformer.resblocks.3'),
    (dict(patch_size=8), r'shape: conv1.weight \(32, 3, 16, 16\) instead')])
def test_options_that_do_not_fit_clip_are_named(options, message):
    with pytest.raises(ValueError, match=f'PlainViT.load_clip: .*{message}'):
        PlainViT(**{**CLIP, **options}).load_clip(clip_state())


@pytest.mark.parametrize(('more', 'options', 'message'), [
    (dict(), dict(pre_norm=True), 'set pre_norm=False'),
    (dict(pre_norm=True), {}, 'set pre_norm=True'),
    (dict(), dict(patch_bias=False), 'set patch_bias=True'),
    (dict(qk_norm=True), {}, 'without a place here: .*attn.q_norm.weight'),
    (dict(qkv_bias=False), {}, 'without a value in the file: .*in_proj_bias')])
def test_parts_that_do_not_fit_timm_are_named(more, options, message):
    with pytest.raises(ValueError, match=f'PlainViT.load_timm: .*{message}'):
        PlainViT(**TIMM, **options).load_timm(timm_vit(**more).state_dict())


@pytest.mark.parametrize(('name', 'message'), [
    ('vit_base_patch16_244', "no model .*did you mean 'vit_base_patch16_224'"),
    ('vit_base_patch16_224.dinox', r'no weights .*vit_base_patch16_224\.dino'),
    ('vit.safetensors', 'No weights at vit.safetensors')])
def test_unknown_weights_are_named(name, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        timm_weights.load_timm_weights(name)


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    def create_model(*_, **__):
        raise OSError('no route')

    monkeypatch.setattr(timm, 'create_model', create_model)
    with pytest.raises(FileNotFoundError, match='OSError: no route.*HF_HOME'):
        timm_weights.load_timm_weights('vit_base_patch16_224.dino')


def test_weights_of_another_kind_are_named(tmp_path):
    with pytest.raises(KeyError, match='not those of a ViT of timm.*CLIPPretrained'):
        PlainViT(**TIMM).load_timm(clip_state())
    with pytest.raises(TypeError, match='CLIPResNet .*no load_timm'):
        timm_weights.TimmPretrained('any')(CLIPResNet(layers=(1, 1, 1, 1), width=16))

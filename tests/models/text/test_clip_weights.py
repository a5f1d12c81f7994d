"""CLIP files: every kind is read, as data, into the same weights."""
import pickle
import zipfile

import pytest
import torch
from huggingface_hub import constants as hub
from mmengine.registry import DefaultScope
from safetensors.torch import save_file
from torch import nn

from mmcontrast.io.script_archive import is_script_archive, read_script_archive
from mmcontrast.models import CLIPTextEncoder, ConvMLP, load_clip_state
from mmcontrast.models.clip_weights import CLIPPretrained
from tests.helpers.clip_files import write_script_archive

SIZES = dict(embed_dims=4, width=8, heads=2, layers=2, vocab_size=50, context_length=6)


def clip_state(dtype=torch.float16, **sizes):
    """A small CLIP under OpenAI's names."""
    torch.manual_seed(0)
    tower = CLIPTextEncoder(**SIZES | dict(context_length=9) | sizes)
    return {key: value.to(dtype) for key, value in tower.state_dict().items()} | {
        'visual.conv1.weight': torch.randn(2, 3, 4, 4, dtype=dtype),
        'logit_scale': torch.tensor(4.6), 'input_resolution': torch.tensor(224),
        'context_length': torch.tensor(9), 'vocab_size': torch.tensor(50)}


WRITERS = {
    'plain.pt': torch.save,
    'parallel.pth': lambda state, path: torch.save(
        {f'module.{key}': value for key, value in state.items()}, path),
    'open_clip_training.pt': lambda state, path: torch.save(
        dict(epoch=3, name='run', state_dict=state), path),
    'open_clip_custom_text.pt': lambda state, path: torch.save({
        key if key.startswith(('visual', 'logit')) else f'text.{key}': value
        for key, value in state.items()}, path),
    'archive.pt': write_script_archive,
    'model.safetensors': save_file}


@pytest.mark.parametrize('name', WRITERS)
def test_every_kind_of_file_gives_the_same_weights_in_float32(name, tmp_path):
    state = clip_state()
    WRITERS[name](state, tmp_path / name)
    read = load_clip_state(tmp_path / name)
    assert read.keys() == state.keys()
    for key, value in state.items():
        exact = value.float() if value.is_floating_point() else value
        torch.testing.assert_close(read[key], exact, rtol=0, atol=0)
    # The scalars that OpenAI's files carry beside the weights are no obstacle.
    encoder = CLIPTextEncoder(**SIZES)
    encoder.load_clip(read)
    torch.testing.assert_close(encoder.positional_embedding.data,
                               state['positional_embedding'][:6].float())


class Blocks(nn.Module):
    """What real modules leave in an archive beside parameters."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.LayerNorm(3).half()])
        self.register_buffer('count', torch.tensor(7))
        self.view = nn.Parameter(torch.arange(12.).view(3, 4).t()[1:])
        self.empty = nn.Parameter(torch.zeros(0, 3))
        self.sizes, self.names, self.table = [1, 2], ['a'], {'k': 1.5}

    def forward(self, x):
        return self.blocks[0](x) * self.view.sum() + len(self.sizes)


@pytest.mark.parametrize('compile_it', [
    torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(1, 3))])
def test_archives_of_torch_jit_are_read_like_torch_jit_does(compile_it, tmp_path):
    path = str(tmp_path / 'archive.pt')
    compile_it(Blocks()).save(path)
    read, exact = read_script_archive(path), torch.jit.load(path).state_dict()
    assert is_script_archive(path)
    assert read.keys() == exact.keys()
    for key, value in exact.items():
        torch.testing.assert_close(read[key], value, rtol=0, atol=0)


def changed(source, target, record, data):
    """Copy an archive with other bytes in the record that ends with a name."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w') as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith(record) else old.read(name))


class Harmful:
    def __reduce__(self):
        return print, ('this must not be printed',)


def test_an_archive_whose_pickle_calls_a_function_is_rejected_by_its_name(
        tmp_path, capsys):
    write_script_archive(clip_state(), tmp_path / 'clip.pt')
    changed(tmp_path / 'clip.pt', tmp_path / 'bad.pt', '/data.pkl',
            pickle.dumps({'logit_scale': Harmful()}, protocol=2))
    with pytest.raises(ValueError, match='bad.pt holds __builtin__.print, which'):
        load_clip_state(tmp_path / 'bad.pt')
    assert 'printed' not in capsys.readouterr().out


def test_code_that_an_archive_brings_along_is_not_looked_at(tmp_path):
    write_script_archive(clip_state(), tmp_path / 'clip.pt')
    changed(tmp_path / 'clip.pt', tmp_path / 'odd.pt', '.py', b'raise SystemExit')
    assert load_clip_state(tmp_path / 'odd.pt').keys() == clip_state().keys()


def test_a_damaged_archive_is_named(tmp_path):
    write_script_archive(clip_state(), tmp_path / 'clip.pt')
    whole = (tmp_path / 'clip.pt').read_bytes()
    middle = whole.index(clip_state()['visual.conv1.weight'].numpy().tobytes())
    (tmp_path / 'flipped.pt').write_bytes(
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
    (tmp_path / 'short.pt').write_bytes(whole[:len(whole) // 2])
    changed(tmp_path / 'clip.pt', tmp_path / 'end.pt', '/byteorder', b'big')
    for name, reason in (('flipped', 'CRC'), ('short', 'truncated'), ('end', 'endian')):
        with pytest.raises(ValueError, match=f'{name}.pt cannot be read .*{reason}'):
            load_clip_state(tmp_path / f'{name}.pt')


def test_files_that_are_no_clip_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='No CLIP weights at nowhere/RN50.pt'):
        load_clip_state('nowhere/RN50.pt')
    with pytest.raises(FileNotFoundError, match="such as 'RN50/openai'"):
        load_clip_state('RN50')
    torch.save({'backbone.conv1.weight': torch.zeros(1)}, tmp_path / 'r50.pth')
    with pytest.raises(KeyError, match=r'r50.pth holds no CLIP .* backbone. \(1\)'):
        load_clip_state(tmp_path / 'r50.pth')


def test_unknown_architectures_and_tags_are_answered_with_known_ones():
    with pytest.raises(ValueError, match="'ViT-B16': did you mean .*'ViT-B-16'"):
        load_clip_state('ViT-B16/openai')
    with pytest.raises(ValueError, match="'RN50' has .* tagged 'openia'; .*openai"):
        load_clip_state('RN50/openia')


def test_named_weights_without_a_network_say_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(hub, 'HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_clip_state('RN50/openai')
    message = str(caught.value)
    assert "'RN50/openai' are not on this machine" in message
    assert 'timm/resnet50_clip.openai' in message and 'HF_HOME' in message


@pytest.mark.parametrize('scope', ['mmcontrast', 'mmseg'])
def test_init_cfg_fills_a_tower_in_every_scope(scope, tmp_path):
    state = clip_state(torch.float32)
    torch.save(state, tmp_path / 'clip.pt')
    encoder = CLIPTextEncoder(**SIZES, init_cfg=dict(
        type='CLIPPretrained', checkpoint=str(tmp_path / 'clip.pt')))
    with DefaultScope.overwrite_default_scope(scope):
        encoder.init_weights()
    torch.testing.assert_close(encoder.text_projection.data, state['text_projection'])
    assert not encoder.text_projection.requires_grad


def test_weights_of_another_activation_are_rejected():
    encoder = CLIPTextEncoder(**SIZES)
    with pytest.raises(ValueError, match='s34b_b88k was .* set quick_gelu=False'):
        CLIPPretrained('ViT-B-16/laion2b_s34b_b88k')(encoder)


def test_a_module_without_a_place_for_clip_weights_is_named(tmp_path):
    with pytest.raises(TypeError, match='ConvMLP cannot be filled from CLIP weights'):
        CLIPPretrained(tmp_path / 'clip.pt')(ConvMLP(2, 2, 2))


@pytest.mark.parametrize('sizes, message', [
    (dict(embed_dims=6), r'text_projection \(8, 6\) where .* \(8, 4\).*embed_dims=6'),
    (dict(width=16), r'another text tower.*embed_dims=4, width=16, layers=2'),
    (dict(layers=3), r'another text tower: transformer.resblocks.2.*layers=3'),
    (dict(context_length=5), r'_embedding \(5, 8\) where .*_length=5 or less')])
def test_weights_of_another_tower_are_rejected(sizes, message):
    encoder = CLIPTextEncoder(**SIZES)
    before = encoder.ln_final.weight.clone()
    with pytest.raises(ValueError, match=message):
        encoder.load_clip(clip_state(torch.float32, **sizes))
    torch.testing.assert_close(encoder.ln_final.weight, before)


def test_missing_weights_are_named():
    state = clip_state(torch.float32, layers=1)
    with pytest.raises(KeyError, match='lack 12 of the text tower: .*resblocks.1'):
        CLIPTextEncoder(**SIZES).load_clip(state)

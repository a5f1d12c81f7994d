"""BEiT-3: tokens, positions, padding, drop path, pretrained files."""
import pytest
import torch

from mmcontrast.methods.propvg.beit3 import BEiT3
from mmcontrast.methods.propvg.beit3_weights import resize_positions
from mmcontrast.models.layers import ConvStem
from mmcontrast.registry import MODELS
from tests.helpers.propvg_case import padding_mask

SIZES = dict(image_size=32, patch_size=8, embed_dims=32, depth=2, num_heads=4,
             feedforward=48, vocab_size=20, max_text_positions=10)


def tiny(**options):
    torch.manual_seed(0)
    return BEiT3(**(SIZES | options))


def batch(size=(32, 32), lengths=(3, 6)):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(len(lengths), 3, *size, generator=generator)
    ids = torch.randint(4, 20, (len(lengths), 6), generator=generator)
    return images, ids, padding_mask(lengths, 6)


@pytest.fixture
def pretrained(tmp_path):
    """A released file: the encoder under ``beit3.``, and a head."""
    weights = {f'beit3.{key}': value for key, value in tiny().state_dict().items()}
    weights['beit3.vision_embed.mask_token'] = torch.zeros(1, 1, 32)
    weights['mim_head.weight'] = torch.zeros(3, 32)
    path = tmp_path / 'beit3_tiny.zip'
    torch.save(dict(model=weights), path)
    return path


def loaded_from(path, **options):
    model = MODELS.build(dict(type='BEiT3', **(SIZES | options), init_cfg=dict(
        type='BEiT3Pretrained', checkpoint=str(path))))
    model.init_weights()
    return model


def test_weights_are_drawn_as_in_the_released_code():
    state = tiny(embed_dims=64, vocab_size=500).state_dict()
    assert not state['vision_embed.cls_token'].any()
    for key, value in state.items():
        if '_proj.' in key or '.fc' in key:
            if key.endswith('bias'):
                assert not value.any()
            else:
                assert 0.0098 < value.std() < 0.0118 and value.abs().max() <= 0.02
    assert 0.12 < state['text_embed.weight'].std() < 0.13     # 64 ** -0.5
    assert 0.8 < state['encoder.embed_positions.B.weight'].std() < 1.2


@torch.no_grad()
def test_maps_and_tokens_have_the_order_of_patches_and_ids():
    model = tiny().eval()
    images, ids, padding = batch((16, 40))
    image, text, cls = model(images, ids, padding)
    assert image.shape == (2, 32, 2, 5)
    assert text.shape == (2, 6, 32) and cls.shape == (2, 32)
    patches = model.embed_images(images)
    tokens = model._vision_tokens(patches) - model._vision_positions(2, 5)
    torch.testing.assert_close(tokens[:, 1 + 5 + 3], patches[:, :, 1, 3])


@torch.no_grad()
def test_padding_changes_no_other_output_but_has_outputs_of_its_own():
    model = tiny().eval()
    images, ids, padding = batch()
    expected = model(images, ids, padding)
    other = ids.masked_fill(padding, 7)
    assert (other != ids).any()
    for got, want in zip(model(images, other, padding), expected, strict=True):
        torch.testing.assert_close(got, want)
    short = model(images[:1], ids[:1, :3], padding[:1, :3])
    torch.testing.assert_close(short.image, expected.image[:1])
    torch.testing.assert_close(short.text, expected.text[:1, :3])
    assert expected.text[0, 3:].isfinite().all() and expected.text[0, 3:].any()


@torch.no_grad()
def test_phrases_of_an_image_share_its_patches():
    model = tiny().eval()
    images, ids, padding = batch()
    patches = model.embed_images(images[:1])
    shared = model.encode(patches.expand(2, -1, -1, -1), ids, padding)
    for got, want in zip(shared, model(images[[0, 0]], ids, padding), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize('lengths', [(2, 3), (3, 6)])
def test_positions_that_are_padding_of_all_phrases_are_computed_once(lengths):
    images, ids, padding = batch(lengths=lengths)
    found = []
    for longest in (None, max(lengths)):
        model = tiny().eval()
        pair = model.encode(model.embed_images(images), ids, padding, longest)
        assert pair.text.shape == (2, 6, 32)
        sum((x * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum()
            for x in pair).backward()
        found.append([*pair, *(p.grad for p in model.parameters())])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_two_rows_before_the_first_position_are_never_read():
    model = tiny().eval()
    expected = model(*batch())
    for table in model.encoder.embed_positions.values():
        table.weight[:2] = float('nan')
    for got, want in zip(model(*batch()), expected, strict=True):
        assert torch.equal(got, want)


def test_a_grid_of_positions_is_resized_and_the_first_rows_stay():
    table = torch.randn(3 + 16, 5)
    assert resize_positions(table, 4, 4) is table
    rows, cols = torch.meshgrid(torch.arange(8.), torch.arange(8.), indexing='ij')
    table = torch.cat([torch.randn(3, 1), (10 * rows + cols).reshape(64, 1)])
    found = resize_positions(table, 4, 8)
    assert torch.equal(found[:3], table[:3])
    # Half-pixel centers: row 1 of 4 lies at 2.5 of 8; the columns stay.
    assert found[3 + 1 * 8 + 5].item() == pytest.approx(10 * 2.5 + 5, abs=1e-4)
    with pytest.raises(ValueError, match=r'3 \+ n \* n rows, got \(18, 1\)'):
        resize_positions(torch.zeros(18, 1), 4, 4)


def test_drop_path_leaves_a_branch_out_for_all_tokens_of_a_sample():
    layer = tiny(depth=2, drop_path=0.5).encoder.layers[1].train()
    assert layer.drop_path.drop_prob == 0.5
    tokens = torch.zeros(64, 3, 32), torch.zeros(64, 2, 32)
    branch = torch.ones(64, 3, 32), torch.ones(64, 2, 32)
    vision, text = layer._add(tokens, branch)
    assert set(vision.unique().tolist()) == {0.0, 2.0}        # 1 / (1 - 0.5)
    factors = vision[:, 0, 0]
    assert torch.equal(vision, factors[:, None, None].expand_as(vision))
    assert torch.equal(text, factors[:, None, None].expand_as(text))
    assert torch.equal(layer.eval()._add(tokens, branch)[0], branch[0])


def test_recomputing_layers_gives_the_same_gradients():
    gradients = []
    for with_cp in (False, True):
        model = tiny(with_cp=with_cp, drop_path=0.3).train()
        torch.manual_seed(2)
        encoded = model(*batch())
        (encoded.image.sum() + encoded.text.sin().sum()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, msg=name)


def test_a_stem_of_convolutions_embeds_the_patches():
    model = tiny(conv_stem=True)
    assert model.embed_images(torch.zeros(1, 3, 32, 16)).shape == (1, 32, 4, 2)
    assert len(model.vision_embed.proj) > 1


def test_a_stem_doubles_its_channels_up_to_the_width():
    def channels(width, patch_size, **options):
        return [layer.out_channels for layer in ConvStem(width, patch_size, **options)
                if isinstance(layer, torch.nn.Conv2d)]
    assert channels(64, 16) == [8, 16, 32, 64, 64]
    assert channels(64, 16, first=16) == [16, 32, 64, 64, 64]
    assert channels(64, 4, first=64) == [64, 64, 64]
    for first in (0, 4, 12, 128, 16.0):
        with pytest.raises(ValueError, match=f'beginning with {first} channels'):
            ConvStem(64, 16, first=first)


@pytest.mark.parametrize('norm, across', [('group', False), ('batch', True)])
def test_batch_norms_of_the_stem_compare_images_and_group_norms_do_not(norm, across):
    torch.manual_seed(0)
    model = tiny(conv_stem=True, stem_norm=norm).train()
    images = torch.randn(2, 3, 16, 16)
    alone = model.embed_images(images[:1])
    together = model.embed_images(images)[:1]
    assert torch.allclose(alone, together, atol=1e-5) != across


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match='image_size=30 is not a multiple'):
        tiny(image_size=30)
    with pytest.raises(ValueError, match='embed_dims=32 is not a multiple of num_he'):
        tiny(num_heads=5)
    with pytest.raises(ValueError, match="one of .'batch', 'group'., got 'layer'"):
        tiny(conv_stem=True, stem_norm='layer')
    images, ids, padding = batch((32, 36))
    with pytest.raises(ValueError, match='36 x 32 are no whole patches of 8 pixels'):
        tiny()(images, ids, padding)
    images, ids, padding = batch()
    with pytest.raises(ValueError, match='6 tokens, but there are positions for 3'):
        tiny(max_text_positions=5)(images, ids, padding)


def test_a_pretrained_file_fills_the_encoder(pretrained):
    wanted = tiny().state_dict()
    for key, value in loaded_from(pretrained).state_dict().items():
        assert torch.equal(value, wanted[key]), key


def test_positions_of_a_checkpoint_are_interpolated_when_it_is_loaded():
    source, target = tiny(), tiny(image_size=48)
    target.load_state_dict(source.state_dict())
    table = source.encoder.embed_positions['A'].weight
    found = target.encoder.embed_positions['A'].weight
    assert torch.equal(found, resize_positions(table, 6, 6)) and len(found) == 39


def test_wrong_pretrained_files_are_named(pretrained, tmp_path):
    other = tmp_path / 'resnet.pth'
    torch.save(dict(state_dict={'conv1.weight': torch.zeros(1)}), other)
    with pytest.raises(KeyError, match=r'resnet\.pth holds no BEiT-3.*conv1'):
        loaded_from(other)
    with pytest.raises(ValueError, match='beit3_tiny.zip does not fit.*text_embed'
                                         r'.*\[20, 32\], expected \[30, 32\]'):
        loaded_from(pretrained, vocab_size=30)
    with pytest.raises(ValueError, match='2 layers, expected 1'):
        loaded_from(pretrained, depth=1)
    with pytest.raises(ValueError, match='nothing for vision_embed.proj.0.weight.*no '
                                         'conv_stem'):
        loaded_from(pretrained, conv_stem=True)
    with pytest.raises(FileNotFoundError, match=r'gone\.zip; that folder holds beit3'):
        loaded_from(tmp_path / 'gone.zip')

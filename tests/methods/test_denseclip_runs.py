"""DenseCLIP in real runs, with mmseg's own hook, metric and test-time augmentation."""
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmseg')
from mmcontrast.apis.config import UsageError
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.test import test as run_test
from mmcontrast.apis.train import train
from mmcontrast.datasets.shapes.layouts import PAIR_CLASSES
from mmcontrast.io.checkpoint import read_checkpoint

CONFIGS = Path(__file__).parents[2] / 'configs' / 'denseclip'
DEBUG = str(CONFIGS / 'denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256_debug.py')
# Ten texts for the ten labels.
OTHER_TEXTS = ('round disc;box;wedge;red star;hoop;plus sign;valentine;crescent;'
               'blue air;brown soil')


def options(root: Path, **more) -> dict:
    loaders = {f'{split}_dataloader.{key}': value for split in ('train', 'val', 'test')
               for key, value in {'dataset.data_root': str(root), 'num_workers': 0,
                                  'persistent_workers': False}.items()}
    return {**loaders, 'visualizer.name': str(uuid.uuid4()), **more}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('shapes'), ['mmseg'], train=24, val=3,
                       test=3, progress=False)


@pytest.fixture(scope='module')
def trained(root, tmp_path_factory):
    """A work dir after twelve steps, and the runner."""
    folder = tmp_path_factory.mktemp('run')
    short = {'max_iters': 12, 'train_cfg.max_iters': 12, 'train_cfg.val_interval': 12,
             'default_hooks.checkpoint.interval': 12,
             'default_hooks.logger.interval': 3, 'train_dataloader.batch_size': 2,
             # Some seeds end with one class everywhere, in all views.
             'randomness.seed': 0}
    return folder, train(DEBUG, str(folder), cfg_options=options(root, **short))


def test_training_lowers_both_losses_and_scores_the_validation_set(trained):
    folder, runner = trained
    history = runner.message_hub.log_scalars
    for name in ('decode.loss_ce', 'aux_identity.loss_ce'):
        values = history[f'train/{name}'].data[0]
        assert values[-3:].mean() < 0.9 * values[:3].mean()
    assert 0 < history['val/mIoU'].data[0][-1] < 100


def test_a_checkpoint_notes_the_texts_and_holds_no_cached_embeddings(trained):
    folder, runner = trained
    checkpoint = read_checkpoint(folder / 'iter_12.pth')
    assert checkpoint['meta']['class_texts'][:2] == [['circle'], ['square']]
    kept = {name for name, _ in runner.model.named_parameters()} | {
        name for name, _ in runner.model.named_buffers() if name.endswith(
            ('running_mean', 'running_var', 'num_batches_tracked'))}
    assert set(checkpoint['state_dict']) == kept


def score(root, trained, **kwargs) -> dict:
    folder, _ = trained
    return run_test(
        DEBUG, str(folder / 'iter_12.pth'), str(folder / f'test_{uuid.uuid4()}'),
        cfg_options=options(root, **kwargs.pop('more', {})), **kwargs)


def test_images_are_drawn_by_the_visualization_hook(root, trained, tmp_path):
    metrics = score(root, trained, show_dir=str(tmp_path))
    assert set(metrics) == {'aAcc', 'mIoU', 'mAcc'}
    assert len(list(tmp_path.rglob('*.png'))) == 3


def test_views_are_averaged_by_the_tta_model(root, trained):
    plain, averaged = score(root, trained), score(root, trained, tta=True)
    assert averaged['mIoU'] > 0 and averaged != plain


@pytest.mark.parametrize('tta', [False, True])
def test_other_texts_at_test_time(root, trained, tta):
    own, other = (score(root, trained, classes=classes, tta=tta)
                  for classes in (None, OTHER_TEXTS))
    assert other['mIoU'] != own['mIoU']


def test_a_kept_vocabulary_is_scored_beside_the_trained_one_before_and_after(
        root, trained, tmp_path):
    folder, _ = trained
    before = tmp_path / 'before.pth'
    state = read_checkpoint(folder / 'iter_12.pth')
    for key, weight in state['state_dict'].items():
        if 'decode_head' in key and weight.is_floating_point():
            weight.zero_()
    torch.save(state, before)
    found = score(root, trained, kept='Sky;ground', before=str(before))
    for start in ('', 'before/'):
        kept, rest = (found[f'{start}vocabulary/{group}/mIoU']
                      for group in ('kept', 'trained'))
        # The scores of the config's own metric stay.
        low, high = sorted([kept, rest])
        assert low <= found[f'{start}mIoU'] <= high
    assert found['before/mIoU'] != found['mIoU']
    assert found['vocabulary/kept/mIoU'] != found['vocabulary/trained/mIoU']
    lines = [line.split() for path in folder.rglob('*.log')
             for line in path.read_text().splitlines()]
    assert ['kept', 'mIoU', *(f'{found[f"{start}vocabulary/kept/mIoU"]:.4f}'
                              for start in ('before/', ''))] in [
        line[:4] for line in lines]


@pytest.mark.parametrize('kept, message', [
    ('sky;tree', "--kept: the test set has no class 'tree'; it has circle"),
    ('sky;sky', "--kept: 'sky;sky' has 'sky' twice")])
def test_kept_classes_that_the_test_set_lacks_are_named(root, trained, kept, message):
    with pytest.raises(UsageError, match=message):
        score(root, trained, kept=kept)


def test_a_sliding_window_runs_under_the_test_loop(root, trained):
    slide = {'model.test_cfg.mode': 'slide', 'model.test_cfg.crop_size': (192, 192),
             'model.test_cfg.stride': (64, 64)}
    assert score(root, trained, more=slide)['mIoU'] > 0


@pytest.mark.parametrize('classes, message', [
    ('sky;tree', r'names 2 classes \(sky, tree\), but the test set has 10 labels'),
    ('sky;sky', "--classes: 'sky;sky' has 'sky' twice"),
    ('nothing.txt', 'No class list at nothing.txt')])
def test_texts_that_do_not_fit_the_labels_are_rejected(root, trained, classes, message):
    with pytest.raises((UsageError, FileNotFoundError), match=message):
        score(root, trained, classes=classes)


def test_a_model_without_texts_says_so(root, trained, tmp_path):
    plain = str(CONFIGS / 'clip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256.py')
    weights = tmp_path / 'plain.pth'
    torch.save(dict(state_dict={}), weights)
    with pytest.raises(UsageError, match='EncoderDecoder reads no class texts'):
        run_test(plain, str(weights), str(tmp_path), classes='a;b', cfg_options=options(
            root, **{'model.backbone.init_cfg': None}))


def test_weights_trained_with_other_texts_are_rejected(root, trained):
    names = list(Config.fromfile(DEBUG).classes)
    with pytest.raises(ValueError, match=(
            "iter_12.pth was trained with 10 class texts, the model has 10; label 9 is "
            "'ground' in the file and 'soil' in model.class_names")):
        score(root, trained, more={'model.class_names': [*names[:9], 'soil']})


def test_texts_in_another_order_than_the_labels_are_rejected(root, tmp_path):
    names = list(Config.fromfile(DEBUG).classes)
    with pytest.raises(ValueError, match="another order: label 0 is 'ground' in"):
        train(DEBUG, str(tmp_path), cfg_options=options(
            root, **{'model.class_names': names[::-1]}))


def test_pairs_of_color_and_shape_are_learned_and_tested_with_those_held_out(
        tmp_path):
    """The configs of docs/benchmarks/denseclip_small.md, from random weights."""
    def world(name, **combinations):
        return make_shapes(tmp_path / name, ['mmseg'], train=4, val=1, test=2, size=64,
                           progress=False, **combinations)

    seen = world('seen', train_combinations='seen', eval_combinations='seen')
    every = world('open')
    short = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2,
             'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 2,
             'model.backbone.init_cfg': None}
    pairs = str(CONFIGS / '{}-seg_fpn-tinyrn_1xb4-100it_shapes-pairs{}-256x256.py')
    plain = train(pairs.format('clip', ''), str(tmp_path / 'clip'),
                  cfg_options=options(seen, **short))
    assert plain.model.decode_head.num_classes == 58
    short['model.text_encoder.init_cfg'] = None
    train(pairs.format('denseclip', ''), str(tmp_path / 'dense'),
          cfg_options=options(seen, **short))
    # The checkpoint knows 58 names; the eight others are named now.
    found = run_test(
        pairs.format('denseclip', '-open'), str(tmp_path / 'dense/iter_2.pth'),
        str(tmp_path / 'test'), classes=str(every / 'pair_classes.txt'),
        cfg_options=options(every, **{key: None for key in short if 'init_cfg' in key}))
    assert {f'{group}/{score}' for group in ('seen', 'stuff', 'held_out')
            for score in ('mIoU', 'mAcc', 'aAcc')} <= set(found)


def test_the_pairs_of_the_config_are_those_of_the_labels():
    cfg = Config.fromfile(
        CONFIGS / 'denseclip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-open-256x256.py')
    assert cfg.all_classes == PAIR_CLASSES
    assert cfg.classes == PAIR_CLASSES[:58] and cfg.held_out == PAIR_CLASSES[58:]

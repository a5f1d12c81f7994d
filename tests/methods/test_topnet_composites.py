"""Metrics of composites: classifier accuracy, Frechet distance, LPIPS diversity.

The networks are small or random, but saved to files and read from them as real ones.
"""
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from PIL import Image
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS

from mmcontrast.apis.config import load_config
from mmcontrast.datasets.shapes import draw_placement
from mmcontrast.errors import DataError, UserKeyError, UserValueError
from mmcontrast.methods.topnet import composites
from mmcontrast.methods.topnet.composite_networks import (
    ALEXNET_NODES,
    FIDInception,
    LPIPSAlexNet,
    TorchvisionFeatures,
)
from mmcontrast.methods.topnet.composites import (
    as_jpeg,
    chosen,
    fingerprint,
    read_pair,
    stacked,
)
from mmcontrast.methods.topnet.frechet import frechet_distance
from mmcontrast.methods.topnet.sample import PlacementSample
from mmcontrast.registry import DATASETS, METRICS, MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
SIZE = 64


class MaskShare(nn.Module):
    """Accepts composites by the share of the image that the object covers."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(()))

    def scores(self, images, masks):
        for image, mask in zip(images, masks, strict=True):
            assert image.dtype == mask.dtype == torch.uint8
            assert image.shape == (3, *mask.shape[1:]) and mask.shape[0] == 1
        covered = torch.stack([(mask > 127).float().mean() for mask in masks])
        return (covered > self.share).float()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Files of weights: AlexNet's features, LPIPS' linear layers, a SqueezeNet."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('weights')
    with torch.device('meta'):
        alexnet = torchvision.models.alexnet()
    # A released file also holds the classifier, which is not read.
    torch.save({f'features.{key}': torch.randn(value.shape)
                / max(value[0].numel(), 4) ** 0.5
                for key, value in alexnet.features.state_dict().items()}
               | {'classifier.1.bias': torch.zeros(4096)}, folder / 'alexnet.pth')
    torch.save({f'lin{i}.model.1.weight': torch.rand(1, channels, 1, 1)
                for i, channels in enumerate(ALEXNET_NODES.values())},
               folder / 'linear.pth')
    torch.save(torchvision.models.squeezenet1_1(num_classes=1000).state_dict(),
               folder / 'squeezenet.pth')
    torch.save(dict(share=torch.tensor(0.05)), folder / 'classifier.pth')
    return folder


@pytest.fixture
def lpips(folder) -> dict:
    return dict(type='LPIPSAlexNet', weights=folder / 'alexnet.pth',
                linear_weights=folder / 'linear.pth')


@pytest.fixture
def squeezenet(folder) -> dict:
    return dict(type='TorchvisionFeatures', network='squeezenet1_1', node='features',
                weights=folder / 'squeezenet.pth')


@pytest.fixture
def classifier(folder) -> dict:
    return dict(weights=str(folder / 'classifier.pth'), classifier=dict(type=MaskShare))


def sample(boxes, seed=0, positives=None, **meta) -> dict:
    pair = draw_placement(seed, SIZE)
    if positives is None:
        left, top, right, bottom = pair.box_xyxy
        positives = [[left, top, right - left, bottom - top]]
    return PlacementSample(
        metainfo=dict(background_wh=(SIZE, SIZE), seed=seed,
                      scene_options=dict(size=SIZE), **meta),
        positives=positives, boxes_xywh=boxes).to_dict()


def built(kind: str, **options):
    return METRICS.build(dict(type=kind, device='cpu', **options))


def scores(metric, *samples) -> dict:
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


LARGE, SMALL = [10, 10, 30, 30], [10, 10, 4, 4]


# Which boxes.

def test_the_best_boxes_come_in_order_and_random_ones_from_the_first():
    assert chosen(60, 3, 'best', 50, [0]) == [0, 1, 2]
    assert chosen(2, 10, 'best', 50, [0]) == [0, 1]
    drawn = [chosen(60, 1, 'random', 50, [0, i])[0] for i in range(2000)]
    assert set(drawn) == set(range(50))
    ten = chosen(60, 10, 'random', 50, [0, 0])
    assert len(set(ten)) == 10 and max(ten) < 50
    assert sorted(chosen(3, 10, 'random', 50, [0])) == [0, 1, 2]


def test_a_random_choice_depends_on_seed_and_pair_alone(classifier):
    boxes = [[x, 20, 10, 10] for x in range(50)]

    def masks(seed, scene):
        metric = built('SimOPAAccuracy', seed=seed, **classifier)
        return metric.composites(sample(boxes, scene))[0][1].tobytes()

    assert masks(0, 3) == masks(0, 3)
    assert len({masks(seed, 3) for seed in range(8)}) > 1
    with_others = built('SimOPAAccuracy', **classifier)
    with_others.composites(sample(boxes, 1))
    assert with_others.composites(sample(boxes, 3))[0][1].tobytes() == masks(0, 3)


def test_a_choice_is_the_same_wherever_the_files_lie():
    here, there = (dict(background_path=f'{root}/bg/3.jpg', object_path=f'{root}/7.jpg')
                   for root in ('/data/OPA', 'D:/OPA'))
    ids = dict(background_id='3', object_id='7')
    assert fingerprint(here | ids) == fingerprint(there | ids) == fingerprint(ids)
    assert fingerprint(here) == fingerprint(there)
    assert len({fingerprint(one) for one in (
        ids, dict(ids, object_id='3'), dict(ids, background_id='7'), dict(seed=3),
        dict(seed=7), here)}) == 6


# Accuracy.

def test_accuracy_is_the_share_of_accepted_composites(classifier):
    metric = built('SimOPAAccuracy', choice='best', **classifier)
    found = scores(metric, sample([LARGE, SMALL]), sample([SMALL, LARGE], 1),
                   sample([LARGE], 2, positives=[]), sample([], 3))
    # Without a positive it does not count, without a prediction it is not accepted.
    assert found == dict(accuracy=pytest.approx(1 / 3))


def test_random_boxes_of_two_are_accepted_half_of_the_time(classifier):
    metric = built('SimOPAAccuracy', **classifier)
    found = scores(metric, *(sample([LARGE, SMALL], i) for i in range(60)))
    assert 0.3 < found['accuracy'] < 0.7


def test_a_pair_counts_once_for_each_positive_in_items_of_pairs_and_of_rows(
        classifier, squeezenet, lpips):
    """OPA's protocol counts plausible rows; a box is drawn for each pair."""
    truths = {0: [LARGE, [5, 5, 20, 20], [30, 30, 9, 9]], 1: [LARGE], 2: [SMALL]}
    boxes = {0: [LARGE, [20, 12, 30, 30], [2, 2, 25, 25]], 1: [SMALL, [40, 40, 4, 5]],
             2: [SMALL, [1, 1, 5, 5]]}
    grouped = [sample(boxes[i], i, truths[i]) for i in truths]
    rows = [sample(boxes[i], i, [truth]) for i in truths for truth in truths[i]]
    for kind, options in (('SimOPAAccuracy', classifier),
                          ('CompositeFID', dict(network=squeezenet)),
                          ('CompositeLPIPS', dict(network=lpips, num=2))):
        found, expected = (scores(built(kind, **options), *samples)
                           for samples in (grouped, rows))
        assert found == {name: pytest.approx(value, rel=1e-4)
                         for name, value in expected.items()}, kind
        if kind == 'SimOPAAccuracy':
            # Large boxes in the pair that counts three times of five.
            assert found['accuracy'] == pytest.approx(3 / 5)
        if kind == 'CompositeFID':
            assert found['fid_images'] == 5


def test_composites_of_a_batch_are_scored_in_one_pass(classifier, monkeypatch):
    metric, sizes = built('SimOPAAccuracy', **classifier), []
    run = metric.classifier.scores
    monkeypatch.setattr(metric.classifier, 'scores', lambda images, masks: (
        sizes.append(len(images)), run(images, masks))[1])
    scores(metric, sample([LARGE]), sample([], 1), sample([SMALL], 2),
           sample([LARGE], 3, positives=[]))
    assert sizes == [2]


def test_simopa_is_the_default_classifier(tmp_path):
    torch.manual_seed(0)
    network = MODELS.build(dict(type='SimOPA'))
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'simopa.pth')
    metric = built('SimOPAAccuracy', weights=str(tmp_path / 'simopa.pth'))
    (image, mask), = metric.composites(sample([LARGE]))
    images, masks = stacked([image]), stacked([mask])
    expected = network.eval().scores(images, masks)
    assert scores(metric, sample([LARGE]))['accuracy'] == float(expected[0] > 0.5)
    # Composites of other sizes beside it change nothing.
    both = network.scores([images[0], images[0, :, :40]], [masks[0], masks[0, :, :40]])
    torch.testing.assert_close(both[:1], expected)
    torch.testing.assert_close(
        both[1:], network.scores(images[:, :, :40], masks[:, :, :40]))


# Frechet distance.

def test_frechet_distance_of_one_dimension_is_arithmetic():
    # Means 1 and 5, standard deviations 1 and 2 (unbiased): 4^2 + (2 - 1)^2.
    a = torch.tensor([[0.0], [1], [2]])
    b = torch.tensor([[3.0], [5], [7]])
    assert frechet_distance(a, b) == pytest.approx(17)


def test_frechet_distance_of_few_images_with_many_features():
    """Singular covariances, against scipy's root of the matrix."""
    from scipy.linalg import sqrtm
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 12, generator=generator).double() for n in (5, 7))
    covariances = [np.cov(x.numpy(), rowvar=False) + 1e-9 * np.eye(12) for x in (a, b)]
    shift = np.square((a.mean(0) - b.mean(0)).numpy()).sum()
    expected = shift + np.trace(
        sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_fid_is_zero_for_composites_at_the_true_boxes_and_not_elsewhere(squeezenet):
    true = [sample([], i) for i in range(4)]
    metric = built('CompositeFID', network=squeezenet, choice='best')
    same = scores(metric, *(dict(one, boxes_xywh=one['positives']) for one in true))
    assert same['fid'] == pytest.approx(0, abs=1e-6) and same['fid_images'] == 4
    metric.results.clear()
    moved = scores(metric, *(dict(one, boxes_xywh=[[0, 0, SIZE, SIZE]])
                             for one in true))
    assert moved['fid'] > 100 * abs(same['fid']) + 1e-3


def test_fid_against_a_folder_of_true_composites(squeezenet, tmp_path):
    samples = [sample([], i) for i in range(3)]
    options = dict(network=squeezenet, choice='best')
    # PNG: JPEG is the metric's part, once for either side.
    for i, one in enumerate(samples):
        (image, _), = built('CompositeFID', **options).pasted(one, one['positives'])
        Image.fromarray(image).save(tmp_path / f'{i}.png')
        one['boxes_xywh'] = one['positives']
    metric = built('CompositeFID', real_folder=str(tmp_path), **options)
    assert scores(metric, *samples)['fid'] == pytest.approx(0, abs=1e-6)


def test_only_files_that_match_the_pattern_are_true_composites(squeezenet, tmp_path):
    """In OPA's folder of composites lie implausible ones, and masks."""
    made = [draw_placement(i, SIZE).scene.image for i in range(3)]
    for i, image in enumerate(made):
        Image.fromarray(image).save(tmp_path / f'{i}_4_0_0_9_9_0.5_1.jpg', quality=90)
        Image.fromarray(255 - image).save(tmp_path / f'{i}_4_0_0_9_9_0.5_0.jpg')
        Image.fromarray(image[..., 0]).save(tmp_path / f'mask_{i}_4_0_0_9_9_0.5_1.jpg')
    options = dict(network=squeezenet, real_folder=str(tmp_path))
    metric = built('CompositeFID', real_pattern='[0-9]*_1.jpg', **options)
    features = torch.cat(metric._of_files())
    # Files that are JPEGs are not encoded again.
    decoded = [np.asarray(Image.open(tmp_path / f'{i}_4_0_0_9_9_0.5_1.jpg').resize(
        (299, 299), Image.BILINEAR)) for i in range(3)]
    torch.testing.assert_close(features, metric.network(stacked(decoded)))
    assert len(built('CompositeFID', **options).real_files) == 9
    with pytest.raises(FileNotFoundError, match=r"of the 9 images.*real_pattern='x\*'"):
        built('CompositeFID', real_pattern='x*', **options)


def test_images_reach_the_feature_network_as_jpeg_of_299_pixels(squeezenet):
    image = draw_placement(0, SIZE).scene.image
    metric = built('CompositeFID', network=squeezenet)
    shown = metric._prepared(image)
    expected = Image.fromarray(as_jpeg(image, 75)).resize((299, 299), Image.BILINEAR)
    assert (shown == np.asarray(expected)).all() and shown.shape == (299, 299, 3)
    assert (as_jpeg(image, 75) != image).any()
    plain = built('CompositeFID', network=squeezenet, jpeg_quality=None)
    assert (plain._prepared(image) != shown).any()


def test_features_of_a_file_are_those_of_the_network_that_was_saved(squeezenet, folder):
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(torch.load(folder / 'squeezenet.pth', weights_only=True))
    images = torch.randint(0, 256, (2, 3, 80, 96), dtype=torch.uint8)
    normalized = torchvision.transforms.Normalize(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(images / 255)
    expected = network.eval().features(normalized).mean((2, 3))
    torch.testing.assert_close(MODELS.build(squeezenet)(images), expected)


# LPIPS.

def slow_lpips(folder, first, second) -> float:
    """LPIPS of two uint8 images, after the paper, a position at a time."""
    with torch.device('meta'):
        layers = torchvision.models.alexnet().features
    state = torch.load(folder / 'alexnet.pth', weights_only=True)
    layers.load_state_dict({key.removeprefix('features.'): value for key, value in
                            state.items() if 'features' in key}, assign=True)
    linear = torch.load(folder / 'linear.pth', weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x, y = (((image / 255 * 2 - 1 - shift) / scale)[None] for image in (first, second))
    total, seen = 0.0, 0
    for layer in layers:
        x, y = layer(x), layer(y)
        if isinstance(layer, nn.ReLU):
            units = [z[0] / z[0].pow(2).sum(0).sqrt().clamp(min=1e-10) for z in (x, y)]
            weight = linear[f'lin{seen}.model.1.weight'].flatten()[:, None, None]
            total += ((units[0] - units[1]) ** 2 * weight).sum(0).mean()
            seen += 1
    return total.item()


@torch.no_grad()
def test_mean_distance_is_the_mean_of_lpips_over_all_pairs(folder, lpips):
    images = torch.randint(0, 256, (3, 3, 64, 80), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(0))
    pairs = [slow_lpips(folder, images[i], images[j])
             for i, j in ((0, 1), (0, 2), (1, 2))]
    network = MODELS.build(lpips)
    same = images[:1].expand(4, -1, -1, -1)
    assert network.mean_distance(images).item() == pytest.approx(
        np.mean(pairs), rel=1e-4)
    assert network.mean_distance(images[:2]).item() == pytest.approx(
        pairs[0], rel=1e-4)
    assert network.mean_distance(same).item() == pytest.approx(0, abs=1e-9)


def test_diversity_is_the_mean_over_pairs(lpips):
    boxes = [[4 * i, 3 * i, 10 + i, 10 + i] for i in range(5)]
    metric = built('CompositeLPIPS', network=lpips, num=3, choice='best')
    images = stacked([image for image, _ in metric.composites(sample(boxes), 3)])
    one = metric.network.mean_distance(images).item()
    assert one > 0
    # The same place three times, and a single prediction: no diversity.
    found = scores(metric, sample(boxes), sample(boxes[:1] * 3, 1),
                   sample(boxes[:1], 2))
    assert found['lpips'] == pytest.approx(one / 3, rel=1e-4)


def test_lpips_agrees_with_torchmetrics(folder, lpips):
    reference = _LPIPS(pretrained=False, pnet_rand=True)
    state = torch.load(folder / 'linear.pth', weights_only=True)
    names = re.compile(r'net\.slice\d\.')
    weights = torch.load(folder / 'alexnet.pth', weights_only=True)
    reference.load_state_dict(
        {key: weights[names.sub('features.', key)] for key in reference.state_dict()
         if names.match(key)} | state, strict=False)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = reference(*(images[:, None] / 127.5 - 1)).item()
    assert MODELS.build(lpips).mean_distance(images).item() == pytest.approx(
        expected, rel=1e-4)


# Files.

def test_pairs_are_read_from_files_at_their_original_size(tmp_path):
    pair = draw_placement(0, SIZE)
    Image.fromarray(pair.background.image).save(tmp_path / 'bg.png')
    padded = np.pad(pair.cutout, ((5, 5), (7, 7), (0, 0)))
    Image.fromarray(padded[..., :3]).save(tmp_path / 'fg.png')
    Image.fromarray(padded[..., 3]).save(tmp_path / 'mask_fg.png')
    files = dict(background_path=str(tmp_path / 'bg.png'),
                 object_path=str(tmp_path / 'fg.png'))
    whole = padded.shape[1::-1]
    background, cutout = read_pair(dict(files, object_wh=whole))
    assert (background == pair.background.image).all()
    assert (cutout.rgba == padded).all()
    tight = read_pair(dict(files, object_wh=pair.cutout.shape[1::-1]))[1]
    assert tight.size_wh < whole and tight.alpha.min(axis=1).shape == (
        tight.size_wh[1],)


def test_a_pair_is_read_once_by_all_metrics_of_a_batch(
        classifier, squeezenet, tmp_path, monkeypatch):
    reads, samples = [], []

    def watched(run, path, *args, **options):
        reads.append(Path(path).name)
        return run(path, *args, **options)
    for name in ('read_image', 'read_cutout'):
        monkeypatch.setattr(
            composites, name, partial(watched, getattr(composites, name)))
    for i in range(3):
        pair = draw_placement(i, SIZE)
        Image.fromarray(pair.background.image).save(tmp_path / f'bg{i}.png')
        Image.fromarray(pair.cutout).save(tmp_path / f'fg{i}.png')
        samples.append(dict(
            background_path=str(tmp_path / f'bg{i}.png'), background_wh=(SIZE, SIZE),
            object_path=str(tmp_path / f'fg{i}.png'),
            positives=[LARGE, SMALL], boxes_xywh=[LARGE, SMALL]))
    evaluator = Evaluator([built('SimOPAAccuracy', **classifier),
                           built('CompositeFID', network=squeezenet)])
    evaluator.process(data_samples=samples)
    assert sorted(reads) == sorted(f'{kind}{i}.png' for kind in ('bg', 'fg')
                                   for i in range(3))


def test_all_metrics_of_a_config_run_over_a_dataset_of_the_toy_world(
        classifier, squeezenet, lpips):
    data = DATASETS.build(dict(type='ShapesPlacements', num_pairs=3, split='val',
                               size=SIZE, pipeline=[dict(type='PrepareTopNet'),
                                                    dict(type='PackPlacement')]))
    samples = [item['data_samples'] for item in data]
    for one in samples:
        one.boxes_xywh = torch.cat([one.positives, one.positives * 0.9])
        one.positive_scores, one.negative_scores = torch.ones(1), torch.zeros(0)
    config = [dict(type='PlacementIoU'), dict(type='OPAMetric'),
              dict(type='ToyPlausibility', train_scenes=5),
              dict(type='SimOPAAccuracy', **classifier),
              dict(type='CompositeFID', network=squeezenet, choice='best'),
              dict(type='CompositeLPIPS', network=lpips)]
    evaluator = Evaluator([METRICS.build(metric) for metric in config])
    evaluator.process(data_samples=samples[:2])
    evaluator.process(data_samples=samples[2:])
    found = evaluator.evaluate(3)
    assert found['placement/top1_iou'] == found['toy/top1'] == found['opa/f1'] == 1
    assert found['composite/fid'] == pytest.approx(0, abs=1e-6)
    assert found['composite/lpips'] > 0 and 0 <= found['composite/accuracy'] <= 1


def write_opa(root):
    """Two pairs with three plausible rows, and their composites."""
    images = {f'background/b/{i}.jpg': draw_placement(i, 80).scene.image
              for i in (1, 2)}
    for i in (1, 2):
        cutout = draw_placement(i, 80).cutout
        images[f'foreground/f/{i}.jpg'] = cutout[..., :3]
        images[f'foreground/f/mask_{i}.jpg'] = cutout[..., 3]
    rows = ['fg_id,bg_id,position,scale,label,img_name,mask_name']
    for i, x, label in ((1, 3, 1), (1, 40, 1), (2, 9, 1), (2, 0, 0)):
        name = f'{i}_{i}_{x}_4_20_30_0.375_{label}.jpg'
        rows.append(f'{i},{i},"[{x}, 4, 20, 30]",0.375,{label},dataset/{name},'
                    f'dataset/mask_{name}')
        images[f'composite/test_set/{name}'] = draw_placement(i, 80).scene.image
        images[f'composite/test_set/mask_{name}'] = np.zeros((80, 80), np.uint8)
    for name, pixels in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    (root / 'test_set.csv').write_text('\n'.join(rows))


def test_the_published_protocol_runs_from_files_of_opa_to_scores(
        classifier, squeezenet, lpips, tmp_path):
    """The config of the search over sixteen sizes, with small networks."""
    write_opa(tmp_path)
    cfg = load_config(str(CONFIGS / 'topnet' / (
        'topnet-pair_2xresnet18_1xb8-25e_opa-256x256_multiscale.py')))
    data = dict(cfg.test_dataloader.dataset, data_root=str(tmp_path))
    data['pipeline'][0].size = 64
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TopNetPair', fusion='fixed', size=64, layers=1,
                              test_cfg=cfg.model.test_cfg)).eval()
    true = str(tmp_path / 'composite/test_set')
    small = dict(SimOPAAccuracy=classifier, CompositeLPIPS=dict(network=lpips),
                 CompositeFID=dict(network=squeezenet, real_folder=true))
    metrics = [METRICS.build(dict(metric, **small.get(metric.type, {})))
               for metric in cfg.test_evaluator]
    batch = pseudo_collate(list(DATASETS.build(data)))
    evaluator = Evaluator(metrics)
    with torch.no_grad():
        samples = model.test_step(batch)
    assert [len(one.boxes_xywh) for one in samples] == [50, 50]
    evaluator.process(data_samples=samples)
    found = evaluator.evaluate(2)
    assert found['composite/fid_images'] == 3
    assert round(3 * found['composite/accuracy'], 6) in (0, 1, 2, 3)
    assert found['composite/lpips'] > 0 and np.isfinite(found['composite/fid'])
    assert 0 <= found['placement/top5_iou'] <= 1


# What is said.

def test_missing_weights_say_which_file_it_is(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match='alexnet-owt-7be5be79.pth'):
        LPIPSAlexNet(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match='weights-inception-2015-12-05'):
        FIDInception(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match='SimOPA'):
        built('SimOPAAccuracy', weights='none.pth', classifier=dict(type=MaskShare))
    with pytest.raises(UserKeyError, match='linear.pth'):
        LPIPSAlexNet(folder / 'linear.pth', folder / 'linear.pth')
    with pytest.raises(UserKeyError, match='lin0.model.1.weight'):
        LPIPSAlexNet(folder / 'alexnet.pth', folder / 'alexnet.pth')


def test_a_missing_library_is_named_with_its_pip_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchmetrics', None)
    for build in (lambda: LPIPSAlexNet(folder / 'alexnet.pth'),
                  lambda: FIDInception(folder / 'alexnet.pth')):
        with pytest.raises(ImportError, match=re.escape('torchmetrics[image]')):
            build()


def test_the_inception_of_fid_reads_a_local_file(tmp_path):
    pytest.importorskip('torch_fidelity')
    with torch.device('meta'):
        shapes = torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    torch.save({key: torch.rand(value.shape) * 0.01 if value.ndim
                else torch.tensor(0) for key, value in shapes.items()},
               tmp_path / 'inception.pth')
    network = FIDInception(tmp_path / 'inception.pth')
    images = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    assert network(images).shape == (1, 2048)


@pytest.mark.parametrize('options, named', [
    (dict(choice='worst'), 'choice'), (dict(among=0), 'among')])
def test_wrong_options_are_named(classifier, options, named):
    with pytest.raises(UserValueError, match=named):
        built('SimOPAAccuracy', **classifier, **options)


def test_what_does_not_fit_is_named(classifier, lpips, squeezenet, folder):
    metric = built('SimOPAAccuracy', **classifier)
    with pytest.raises(UserKeyError, match='of seed 0 has no boxes_xywh'):
        scores(metric, dict(seed=0, positives=[[0, 0, 1, 1]]))
    with pytest.raises(UserKeyError, match='of object 7 has no positives'):
        scores(metric, dict(object_id='7'))
    with pytest.raises(UserKeyError, match='no background_path'):
        scores(metric, dict(boxes_xywh=[LARGE], positives=[LARGE]))
    with pytest.raises(DataError, match='positive'):
        scores(built('CompositeLPIPS', network=lpips), sample([LARGE], positives=[]))
    with pytest.raises(DataError, match='two images'):
        scores(built('CompositeFID', network=squeezenet), sample([LARGE]))
    with pytest.raises(UserValueError, match='mean_distance'):
        built('CompositeLPIPS', network=squeezenet)
    small = sample([LARGE, SMALL], background_path='a.jpg')
    small['scene_options'] = dict(size=48)
    with pytest.raises(UserValueError, match='a.jpg: LPIPS needs.*63 pixels.*48 x 48'):
        scores(built('CompositeLPIPS', network=lpips), small)
    with pytest.raises(UserValueError, match='squeezenet1_1'):
        TorchvisionFeatures('squeezenet11', 'features', folder / 'squeezenet.pth')
    with pytest.raises(UserValueError, match='no node'):
        TorchvisionFeatures('squeezenet1_1', 'nowhere', folder / 'squeezenet.pth')

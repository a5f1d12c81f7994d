import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmcontrast.datasets.absent_classes import result_note
from mmcontrast.datasets.labeled_images import load_labeled_images
from mmcontrast.datasets.segmented_images import find_pairs
from mmcontrast.evaluation.dense_probe import (
    LinearScores,
    cell_labels,
    dense_probe,
    labeled_cells,
    scores_of,
)
from mmcontrast.evaluation.features import feature_maps


def colored_world(num_images: int, seed: int, num_classes: int = 3):
    """One-hot features of a 4 x 4 grid with noise, and labels of 16 x 16 pixels."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(num_classes, (num_images, 4, 4), generator=generator)
    features = nn.functional.one_hot(cells, num_classes).permute(0, 3, 1, 2).float()
    noise = torch.randn(features.shape, generator=generator)
    labels = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return features + 0.05 * noise, labels


# ---- the probe

@pytest.mark.parametrize('kind', ['knn', 'linear'])
def test_separable_features_give_nearly_full_marks_and_noise_gives_chance(kind):
    train, train_labels = colored_world(40, seed=0)
    val, val_labels = colored_world(20, seed=1)
    # Labels on the grid of the features: upsampling cannot blur the answer.
    found = dense_probe(train, train_labels, val, val_labels[:, ::4, ::4], 3, kind)
    assert found['miou'] == found['accuracy'] == 1
    noise = [torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(n))
             for n in (40, 20)]
    lost = dense_probe(noise[0], train_labels, noise[1], val_labels, 3, kind)
    assert lost['accuracy'] < 0.5


# faults C: binary masks of 0 and 255; random features get 100 % of what is left.
def test_classes_that_never_occur_are_named_in_the_result():
    features, labels = torch.randn(2, 3, 4, 4), torch.zeros(2, 16, 16).long()
    labels[:, :8] = 255
    found = dense_probe(features, labels, features, labels, 2)
    assert found['miou'] == 1
    assert found['unlabeled_classes'] == found['untrained_classes'] == [1]
    both = labels.clone()
    both[:, 12:] = 1
    found = dense_probe(features, both, features, labels, 3)
    assert found['unlabeled_classes'] == [1, 2] and found['untrained_classes'] == [2]
    note = result_note(('road', 'car'), [1], 'mask of val')
    assert note == (
        'Note: class 1 (car) occurs in no mask of val; all labels are road, so that '
        'the scores say nothing. Is an ignored label, such as 255, your foreground?')
    assert result_note(('road', 'car'), [], 'mask of val') == ''


def test_scores_are_upsampled_bilinearly_to_the_labels():
    # Two cells, left class 0 and right class 1: the scores cross in the middle, so all
    # 8 columns are right. Nearest or not, a border at column 3 costs one column.
    features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]])
    shifted = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 1]]])
    assert dense_probe(features, labels, features, labels, 2, k=1)['accuracy'] == 1
    found = dense_probe(features, labels, features, shifted, 2, k=1)
    assert found['accuracy'] == 7 / 8
    assert found['per_class_iou'] == [3 / 4, 4 / 5]


def test_ignored_pixels_count_nowhere():
    train, train_labels = colored_world(10, seed=0)
    val, val_labels = colored_world(5, seed=1)
    val_labels = val_labels[:, ::4, ::4].clone()
    val[:, :, :, 2:] = val[:, :, :, 2:].roll(1, dims=1)     # wrong in the right half
    assert dense_probe(train, train_labels, val, val_labels, 3)['accuracy'] == 0.5
    val_labels[:, :, 2:] = 255
    # The score right of the border must not shine in: the grids are the same.
    assert dense_probe(train, train_labels, val, val_labels, 3)['accuracy'] == 1


def test_a_class_that_is_nowhere_has_no_iou_and_does_not_enter_the_mean():
    # Rows are labels: class 0 has 3 of 4 right, class 1 is confused once, class 2 never
    # occurs, so IoU is 3/4 (one lost), 1/2 (one taken from class 0), none.
    confusion = torch.tensor([[3, 1, 0], [0, 1, 0], [0, 0, 0]])
    found = scores_of(confusion)
    assert found['per_class_iou'][:2] == [3 / 4, 1 / 2]
    assert np.isnan(found['per_class_iou'][2])
    assert found['miou'] == (3 / 4 + 1 / 2) / 2
    assert found['accuracy'] == 4 / 5


def test_knn_agrees_with_a_slow_loop():
    train, train_labels = colored_world(6, seed=2)
    val, _ = colored_world(2, seed=3)
    train, val = train + torch.randn(train.shape), val + torch.randn(val.shape)
    cells, targets = labeled_cells(train, train_labels, 3, 255, 1000)
    predicted = []
    for cell in val.permute(0, 2, 3, 1).reshape(-1, 3).numpy():
        cosine = cells.numpy() @ cell / (
            np.linalg.norm(cells.numpy(), axis=1) * np.linalg.norm(cell))
        votes = np.zeros(3)
        for i in np.argsort(-cosine)[:7]:
            votes[targets[i]] += np.exp(cosine[i] / 0.5)
        predicted.append(votes.argmax())
    expected = torch.tensor(predicted).view(2, 4, 4)
    found = dense_probe(
        train, train_labels, val, expected, 3, k=7, temperature=0.5)
    assert found['accuracy'] == 1


def test_linear_probe_reaches_the_optimum_of_its_loss():
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(200, 5, generator=generator)
    targets = torch.randint(3, (200,), generator=generator)
    fit = LinearScores(cells, targets, 3, penalty=1e-2)
    weight, bias = fit.weight.detach().double(), fit.bias.detach().double()
    cells = ((cells - cells.mean(0)) / cells.std(0, unbiased=False)).double()
    probs = (cells @ weight.T + bias).softmax(1)
    error = probs - nn.functional.one_hot(targets, 3)
    # The gradient of mean cross entropy + 0.01 |W|^2, by hand, is zero there.
    gradient = error.T @ cells / 200 + 2e-2 * weight
    assert gradient.abs().max() < 1e-4
    assert error.mean(0).abs().max() < 1e-4


def test_probe_is_deterministic_and_draws_nothing_from_the_generator():
    train, train_labels = colored_world(20, seed=4)
    state = torch.get_rng_state()
    for kind in ('knn', 'linear'):
        first, second = (
            dense_probe(train, train_labels, train, train_labels, 3, kind, max_cells=50)
            for _ in range(2))
        assert first == second
    assert torch.equal(state, torch.get_rng_state())


def test_cell_label_is_the_commonest_and_ignored_cells_are_left_out():
    labels = torch.tensor([[[0, 0, 1, 1],
                            [0, 1, 1, 1],
                            [255, 255, 2, 255],
                            [255, 2, 2, 2]]])
    assert cell_labels(labels, (2, 2), 3).tolist() == [[[0, 1], [255, 2]]]
    features = torch.arange(4.0).view(1, 1, 2, 2)
    cells, targets = labeled_cells(features, labels, 3, 255, max_cells=10)
    assert cells.tolist() == [[0], [1], [3]]
    assert targets.tolist() == [0, 1, 2]
    assert len(labeled_cells(features, labels, 3, 255, max_cells=2)[0]) == 2


def test_bad_probe_input_is_named():
    features, labels = colored_world(2, seed=0)
    with pytest.raises(ValueError, match=r'train: labels \[2\] lie outside of \[0, 2'):
        dense_probe(features, labels, features, labels, 2)
    with pytest.raises(ValueError, match='val: all pixels are labeled 255'):
        dense_probe(features, labels, features, torch.full_like(labels, 255), 3)
    with pytest.raises(ValueError, match='one layer'):
        dense_probe(features, labels, features[:, :2], labels, 3)
    with pytest.raises(ValueError, match="got 'svm'"):
        dense_probe(features, labels, features, labels, 3, 'svm')
    with pytest.raises(ValueError, match='diverged'):
        dense_probe(features * float('nan'), labels, features, labels, 3)
    with pytest.raises(ValueError, match=r'features must be \(N, C, h, w\)'):
        dense_probe(features, labels[:1], features, labels, 3)
    sparse = torch.full_like(labels, 255)
    sparse[:, 0, 0] = 1
    with pytest.raises(ValueError, match='no cell'):
        dense_probe(features, sparse, features, labels, 3)


# ---- features

def test_features_leave_modes_statistics_and_gradients_alone():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    backbone.train()
    backbone[2].eval()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    found = feature_maps(backbone, images, batch_size=2)
    assert found.shape == (5, 4, 6, 6) and not found.requires_grad
    assert [m.training for m in backbone] == [True, True, False]
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_features_are_those_of_normalized_images():
    backbone = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.dirac_(backbone.weight)
    images = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    found = feature_maps(backbone, images, mean=(10, 10, 10), std=(1, 2, 4))
    assert found[0, :, 0, 0].tolist() == [0, 5, 5]


def test_a_missing_map_is_named():
    backbone = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match='returns 1 map'):
        feature_maps(backbone, torch.zeros(1, 3, 4, 4), out_index=3)


# ---- labeled images

@pytest.fixture
def labeled_folder(tmp_path):
    """Three images; the left half of each has class 0, the right half class 1."""
    for part in ('img', 'ann'):
        (tmp_path / part / 'town').mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (20, 10), (i * 100, 0, 0)).save(
            tmp_path / f'img/town/{i}_photo.png')
        mask = np.zeros((10, 20), np.uint8)
        mask[:, 10:] = 1
        mask[0] = 11
        Image.fromarray(mask).save(tmp_path / f'ann/town/{i}_labels.png')
    return dict(img_dir=str(tmp_path / 'img'), ann_dir=str(tmp_path / 'ann'),
                img_suffix='_photo.png', seg_map_suffix='_labels.png',
                classes=['left', 'right'], ignore_index=11)


def test_folders_pair_by_stem_and_labels_follow_the_size(labeled_folder):
    found = load_labeled_images(labeled_folder, size=(5, 10))
    assert found.images.shape == (3, 3, 5, 10)
    assert found.images[:, 0, 0, 0].tolist() == [0, 100, 200]
    # Centers of 5 rows in 10: 1, 3, ..., so the ignored first row is never hit.
    assert found.labels[0].tolist() == [[0] * 5 + [1] * 5] * 5
    same = load_labeled_images(labeled_folder, size=(10, 20))
    assert (same.labels[:, 0] == -1).all() and (same.labels[:, 1:] != -1).all()
    assert found.classes == ('left', 'right')


def test_a_limit_takes_images_evenly_spaced_over_the_set(labeled_folder):
    found = load_labeled_images(labeled_folder, size=4, limit=2)
    assert found.images[:, 0, 0, 0].tolist() == [0, 200]


def test_palette_masks_give_their_numbers_not_their_colors(labeled_folder, tmp_path):
    path = tmp_path / 'ann/town/0_labels.png'
    mask = Image.fromarray(np.array(Image.open(path)))
    mask.putpalette([200, 100, 50] * 256)
    mask.save(path)
    assert Image.open(path).mode == 'P'
    found = load_labeled_images(labeled_folder, size=(10, 20))
    assert found.labels[0, 5].tolist() == [0] * 10 + [1] * 10


def test_reduce_zero_label_shifts_by_one_and_ignores_zero(labeled_folder):
    cfg = dict(labeled_folder, reduce_zero_label=True)
    found = load_labeled_images(cfg | dict(ignore_index=10), size=(10, 20))
    assert found.labels[0, 5].tolist() == [-1] * 10 + [0] * 10


def test_wrong_class_list_for_the_data_names_file_and_labels(labeled_folder):
    cfg = dict(labeled_folder, ignore_index=255)
    with pytest.raises(ValueError, match=r'0_labels.png: labels \[11\] are outside '
                                         r'of the 2 classes \(0 to 1\)'):
        load_labeled_images(cfg, size=(10, 20))


def test_missing_masks_images_and_folders_are_named(labeled_folder, tmp_path):
    (tmp_path / 'ann/town/1_labels.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 images .*1_labels.png'):
        load_labeled_images(labeled_folder)
    with pytest.raises(FileNotFoundError, match="no file ends in '.tif'"):
        load_labeled_images(labeled_folder | dict(img_suffix='.tif'))
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        load_labeled_images(labeled_folder | dict(ann_dir='nowhere'))


def test_color_masks_and_masks_of_another_size_are_rejected(labeled_folder, tmp_path):
    Image.new('RGB', (20, 10)).save(tmp_path / 'ann/town/0_labels.png')
    with pytest.raises(ValueError, match='mode RGB'):
        load_labeled_images(labeled_folder)
    Image.new('L', (19, 10)).save(tmp_path / 'ann/town/0_labels.png')
    with pytest.raises(ValueError, match='19 x 10, its image .* 20 x 10'):
        load_labeled_images(labeled_folder)


def test_classes_must_be_given_for_folders(labeled_folder):
    cfg = dict(labeled_folder, classes=[])
    with pytest.raises(ValueError, match='give classes=.* or num_classes'):
        load_labeled_images(cfg)
    cfg['classes'] = None
    with pytest.raises(ValueError, match='num_classes'):
        load_labeled_images(cfg)
    assert len(load_labeled_images(cfg | dict(num_classes=2)).classes) == 2


def test_the_toy_world_is_a_labeled_set():
    cfg = dict(type='ShapesDataset', num_images=3, with_annotations=True)
    found = load_labeled_images(cfg, size=64)
    assert found.images.shape == (3, 3, 64, 64)
    assert 'circle' in found.classes
    with pytest.raises(ValueError, match='with_annotations=True'):
        load_labeled_images(dict(type='ShapesDataset', num_images=3))


def test_pairs_keep_sub_folders(labeled_folder):
    cfg = {k: labeled_folder[k] for k in
           ('img_dir', 'ann_dir', 'img_suffix', 'seg_map_suffix')}
    pairs = find_pairs(**cfg)
    assert [p.name for p, _ in pairs] == ['0_photo.png', '1_photo.png', '2_photo.png']
    assert pairs[0][1].parent.name == 'town'

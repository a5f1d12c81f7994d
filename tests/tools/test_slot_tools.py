import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.apis.analysis.feature_maps import feature_map_sheet
from mmcontrast.apis.analysis.score_slots import score_slots, slot_table
from mmcontrast.apis.analysis.show_slots import show_slots
from mmcontrast.apis.analysis.slots import load_slot_model
from mmcontrast.datasets.center_crops import CenterCroppedImages
from mmcontrast.datasets.segmented_images import DatasetImages, open_segmented_images
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.evaluation.cluster_scores import matched_scores
from mmcontrast.methods.slotcon.drawing import mark_region
from mmcontrast.methods.slotcon.evaluation import (
    cluster_prototypes,
    count_slots,
    slot_scores,
)
from mmcontrast.models.upsampling import upsampled_argmax
from tests.helpers.slot_files import write_checkpoint, write_config, write_scenes

ROOT = Path(__file__).parents[2]
OBJECTS = 8  # the shapes; sky and ground follow


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('slots')
    config = write_config(folder)
    return dict(config=config, scenes=write_scenes(folder / 'scenes'),
                checkpoint=write_checkpoint(config, folder / 'epoch_1.pth'))


@pytest.fixture(scope='module')
def model(files):
    return load_slot_model(files['config'], files['checkpoint'])[0]


def show(files, out, **kwargs):
    settings = dict(resize=64, crop=64, workers=0, progress=False, overlay=2) | kwargs
    images = settings.pop('images', [f'{files["scenes"]}/img_dir/test'])
    return show_slots(files['config'], files['checkpoint'], images, out=str(out),
                      **settings)


# ---- score maps

def test_scores_are_cosines_of_the_asked_branch_and_leave_the_model_alone(model):
    images = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    teacher, student = (slot_scores(model, images, branch)
                        for branch in ('momentum', 'online'))
    assert model.training and teacher.shape == (2, 12, 4, 6)
    assert teacher.abs().max() <= 1 + 1e-6 and not torch.allclose(teacher, student)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match="got 'teacher'"):
        slot_scores(model, images, 'teacher')


def test_other_prototypes_score_the_same_features(model):
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    own = slot_scores(model, images)
    prototypes = model.momentum.grouping.prototypes
    others = torch.cat([3 * prototypes, -prototypes]).detach()
    both = slot_scores(model, images, prototypes=others)
    torch.testing.assert_close(both, torch.cat([own, -own], 1))
    assert torch.equal(slot_scores(model, images), own)


# ---- labeled images

def test_panoptic_files_give_the_classes_and_objects_of_the_scene(files):
    found = open_segmented_images(files['scenes'], 'test')
    scene = draw_scene(scene_seed('test', 2), 64)
    image = found[2]
    assert len(found) == 6 and found.is_thing.sum() == OBJECTS
    assert (image.labels == scene.semantic_map).all()
    # Ids may differ, but each of ours is one object of the scene.
    pairs = {*zip(image.instances.ravel(), scene.instance_map.ravel(), strict=True)}
    assert len(pairs) == len(np.unique(scene.instance_map))
    assert (0, 0) in pairs


def test_crowds_are_no_object_and_unlisted_ids_no_class(files, tmp_path):
    path = Path(write_scenes(tmp_path / 'scenes', 1)) / 'annotations/panoptic_test.json'
    content = json.loads(path.read_text())
    segments = content['annotations'][0]['segments_info']
    crowd, unlisted = segments[0], segments.pop(1)
    crowd['iscrowd'] = 1
    path.write_text(json.dumps(content))
    image = open_segmented_images(tmp_path / 'scenes', 'test')[0]
    ids = draw_scene(scene_seed('test', 0), 64).panoptic_map
    assert (image.instances[ids == crowd['id']] == 0).all()
    assert (image.labels[ids == crowd['id']] == crowd['category_id'] - 1).all()
    assert (image.labels[ids == unlisted['id']] == -1).all()


def test_folders_of_masks_give_classes_without_objects(files, tmp_path):
    folder = tmp_path / 'set'
    for part, size in (('img_dir', 'RGB'), ('ann_dir', 'L')):
        (folder / part / 'val').mkdir(parents=True)
        suffix = 'jpg' if size == 'RGB' else 'png'
        Image.new(size, (40, 30), 11 if size == 'L' else 'red').save(
            folder / part / 'val' / f'a.{suffix}')
    with pytest.raises(ValueError, match='give --num-classes'):
        open_segmented_images(folder, 'val')
    found = open_segmented_images(folder, 'val', num_classes=11, ignore_index=11)
    assert found[0].instances is None and (found[0].labels == -1).all()
    with pytest.raises(ValueError, match=r'labels \[11\] are outside of'):
        open_segmented_images(folder, 'val', num_classes=11)[0]


def test_a_registered_dataset_gives_the_same_as_its_files(files):
    found = DatasetImages(dict(type='ShapesDataset', num_images=6, split='test',
                               size=64, with_annotations=True))
    stored = open_segmented_images(files['scenes'], 'test')
    assert found.classes == stored.classes
    assert (found.is_thing == stored.is_thing).all()
    assert (found[3].labels == stored[3].labels).all()
    assert ((found[3].instances > 0) == (stored[3].instances > 0)).all()


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        open_segmented_images('nowhere', 'test')
    with pytest.raises(FileNotFoundError, match='neither annotations/panoptic_val'):
        open_segmented_images(tmp_path, 'val')


# ---- scores

def test_scores_of_every_table_are_those_it_would_get_alone(files, model):
    scenes = open_segmented_images(files['scenes'], 'test')
    own = model.momentum.grouping.prototypes.detach()
    other = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    together = count_slots(model, dict(own=own, other=other), list_of(scenes), 10)
    alone = count_slots(model, dict(other=other), list_of(scenes), 10)
    assert torch.equal(together['other'].counts.counts, alone['other'].counts.counts)
    assert together['other'].aris == alone['other'].aris
    # A table twice as long points the same way.
    longer = count_slots(model, dict(own=2 * own), list_of(scenes), 10)
    assert torch.equal(together['own'].counts.counts, longer['own'].counts.counts)


def list_of(scenes):
    return [scenes[i] for i in range(len(scenes))]


def test_things_are_scored_as_one_class(files, model):
    scenes = open_segmented_images(files['scenes'], 'test')
    own = model.momentum.grouping.prototypes.detach()
    tally = count_slots(model, dict(own=own), list_of(scenes), 10)['own']
    found = tally.scores(scenes.is_thing)
    counts = tally.counts.counts
    kinds = torch.stack([counts[:OBJECTS].sum(0), counts[OBJECTS], counts[OBJECTS + 1]])
    best = kinds.max(0).values.sum() / kinds.sum()
    assert found['things_majority_accuracy'] == pytest.approx(best.item())
    slot = matched_scores(kinds)['cluster_of_class'][0]
    either = kinds[0].sum() + kinds[:, slot].sum() - kinds[0, slot]
    assert found['object_iou'] == pytest.approx((kinds[0, slot] / either).item())
    assert found['in_use'] == int((counts.sum(0) > 0).sum())
    assert 'things_miou' not in tally.scores()


def test_k_means_centers_group_cells_better_than_random_ones(files, model):
    scenes = open_segmented_images(files['scenes'], 'test')
    images = [torch.from_numpy(np.array(x.image)).permute(2, 0, 1)
              for x in list_of(scenes)]
    centers = cluster_prototypes(model, images, 4)
    assert centers.shape == (4, 16)
    assert torch.equal(centers, cluster_prototypes(model, images, 4))
    scores = []
    for table in (centers, torch.randn(4, 16)):
        found = slot_scores(model, torch.stack(images), prototypes=table)
        scores.append(found.max(1).values.mean())
    assert scores[0] > scores[1]
    with pytest.raises(ValueError, match='too few for 999 clusters'):
        cluster_prototypes(model, images, 999)


def test_the_score_tool_prints_and_writes_a_row_for_each_comparison(files, tmp_path):
    out = tmp_path / 'new/score.json'
    settings = dict(data=files['scenes'], progress=False, kmeans=True,
                    baseline='random', random_prototypes=2, max_images=4)
    result = score_slots(files['config'], files['checkpoint'], out=str(out), **settings)
    assert list(result['rows']) == ['trained slots', 'random prototypes',
                                    'k-means prototypes', 'untrained network']
    assert json.loads(out.read_text())['rows'] == result['rows']
    assert result['num_images'] == 4 and result['num_slots'] == 12
    assert result['things_classes'] == ['object', 'sky', 'ground']
    draws = [score_slots(files['config'], files['checkpoint'], seed=seed,
                         **settings | dict(random_prototypes=1, kmeans=False,
                                           baseline=None))
             for seed in (0, 0)]
    assert draws[0]['rows'] == draws[1]['rows']
    table = slot_table(result).splitlines()
    assert [line[:18].strip() for line in table[3:7]] == [
        'trained slots', 'random prototypes', 'k-means prototypes', 'untrained network']
    # faults C: classes that none of the four scenes shows are named.
    assert table[7].startswith('Note: class 5 (') and len(table) == 8
    assert table[7].endswith(' occurs in no mask of test.')
    assert f'{100 * result["rows"]["trained slots"]["miou"]:.1f}' in table[3]


def test_sets_without_objects_have_no_ari(files, tmp_path):
    masks = tmp_path / 'masks'
    masks.mkdir()
    for name in ('img_dir', 'ann_dir', 'classes.json'):
        (masks / name).symlink_to(Path(files['scenes']) / name)
    result = score_slots(files['config'], files['checkpoint'], str(masks),
                         random_prototypes=0, progress=False)
    row = result['rows']['trained slots']
    assert row['fg_ari'] is None and 'things_miou' not in row
    assert ' - ' in slot_table(result).splitlines()[3]


# ---- images

def test_images_show_the_slots_in_use_and_the_summary_counts_them(files, tmp_path):
    found = show(files, tmp_path / 'new', max_slots=3, top=2)
    alive = len(found.statistics.alive)
    assert [f.name for f in found.files] == [
        'nearest_01.png', 'overlays.png', 'slots.json']
    summary = json.loads(found.files[-1].read_text())
    assert summary['num_slots'] == 12 and summary['alive'] == alive
    assert summary['num_images'] == 6 and len(summary['slots']) == alive
    shares = [slot['share_of_cells'] for slot in summary['slots']]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert all(Path(p).is_file() for p in summary['slots'][0]['nearest'])
    # A head of 50 + 10 and a row of 190 for each slot shown.
    rows = min(3, alive)
    assert Image.open(found.files[0]).height == 60 + 190 * rows


def test_each_row_shows_the_nearest_image_with_the_region_of_its_slot(
        files, model, tmp_path):
    found = show(files, tmp_path, top=1, overlay=0)
    sheet = np.asarray(Image.open(found.files[0]))
    paths = sorted(Path(files['scenes'], 'img_dir/test').glob('*.jpg'))
    partial = 0
    for rank, slot in enumerate(found.statistics.alive.tolist()):
        path = paths[found.statistics.nearest[slot, 0].item()]
        crop = CenterCroppedImages([str(path)], 64, 64)[0]
        won = upsampled_argmax(slot_scores(model, crop[None]), (64, 64))[0] == slot
        partial += 0 < won.float().mean() < 1
        tile = mark_region(crop.permute(1, 2, 0).numpy(), won.numpy())
        tile = np.asarray(Image.fromarray(tile).resize((160, 160), Image.BICUBIC))
        row = sheet[60 + 190 * rank:][:160]
        assert any((row[:, left:left + 160] == tile).all()
                   for left in range(sheet.shape[1] - 160)), f'slot {slot}'
    assert partial


def test_earlier_sheets_do_not_stay(files, tmp_path):
    (tmp_path / 'nearest_09.png').write_bytes(b'old')
    show(files, tmp_path, overlay=0)
    assert not (tmp_path / 'nearest_09.png').exists()


def test_broken_images_are_left_out_and_named(files, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for path in Path(files['scenes'], 'img_dir/test').glob('*.jpg'):
        (folder / path.name).symlink_to(path)
    (folder / '000000a.jpg').write_bytes(b'no image')
    found = show(files, tmp_path / 'out', images=[str(folder)])
    assert found.statistics.num_images == 6
    assert found.notes == [
        f'1 of 7 images could not be read and were left out, first '
        f'{folder}/000000a.jpg.']
    good = show(files, tmp_path / 'good')
    assert torch.equal(found.statistics.scores, good.statistics.scores)
    with pytest.raises(ValueError, match='none of 1 images could be read'):
        show(files, tmp_path / 'none', images=[str(folder / '000000a.jpg')])


def test_crops_are_the_middle_of_the_resized_image(tmp_path):
    # 200 x 100 becomes 64 x 32: the middle 32 columns are the source's 50 to 150.
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 60:140] = 255
    Image.fromarray(image).save(tmp_path / 'a.png')
    crop = CenterCroppedImages([str(tmp_path / 'a.png')], 32, 32)[0]
    assert crop.shape == (3, 32, 32)
    assert crop[:, :, 5:27].min() > 250 and crop[:, :, :2].max() < 5


# ---- what does not fit

def test_weights_without_slots_are_rejected(files, tmp_path):
    weights = torch.load(files['checkpoint'])['state_dict']
    backbone = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    torch.save(dict(state_dict=backbone), tmp_path / 'backbone.pth')
    with pytest.raises(ValueError, match=r'backbone.pth holds no prototypes '
                                         r'\(momentum.grouping.prototypes\).*official'):
        load_slot_model(files['config'], str(tmp_path / 'backbone.pth'))
    fewer = dict(weights)
    fewer['momentum.grouping.prototypes'] = torch.zeros(7, 16)
    torch.save(dict(state_dict=fewer), tmp_path / 'seven.pth')
    with pytest.raises(ValueError, match=r'shape \[7, 16\].*\[12, 16\]'):
        load_slot_model(files['config'], str(tmp_path / 'seven.pth'))
    teacherless = {k: v for k, v in weights.items()
                   if not k.startswith('momentum.backbone.layer4')}
    torch.save(dict(state_dict=teacherless), tmp_path / 'part.pth')
    with pytest.raises(ValueError, match='lacks 30 weights of the momentum branch'):
        load_slot_model(files['config'], str(tmp_path / 'part.pth'))
    _, note = load_slot_model(files['config'], str(tmp_path / 'part.pth'), 'online')
    assert 'momentum.backbone. (30)' in note


def test_numbers_out_of_range_are_named(files, tmp_path):
    with pytest.raises(ValueError, match=r'resize \(64\) must not be smaller'):
        show(files, tmp_path, crop=65)
    with pytest.raises(ValueError, match='top must be 1 or more, got 0'):
        show(files, tmp_path, top=0)
    with pytest.raises(ValueError, match='the side of the crop must be 1 or more'):
        show(files, tmp_path, crop=0)


def test_a_misspelled_baseline_is_no_silent_none():
    with pytest.raises(ValueError, match="'random' or None, got 'Random'"):
        score_slots('no.py', 'no.pth', 'nowhere', baseline='Random')
    with pytest.raises(ValueError, match="'random' or None, got True"):
        feature_map_sheet('no.py', 'no.pth', [], baseline=True)


def test_a_config_without_slots_is_rejected(files):
    config = ROOT / 'configs/pixpro/pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py'
    with pytest.raises(ValueError, match='PixPro has no slots'):
        load_slot_model(str(config), files['checkpoint'])


def run_tool(monkeypatch, name, *args):
    """A tool in this process; another one would load torch again."""
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
    runpy.run_path(str(ROOT / f'tools/analysis/{name}.py'), run_name='__main__')


def test_tools_print_what_they_found(files, tmp_path, monkeypatch, capsys):
    weights = files['config'], files['checkpoint']
    run_tool(monkeypatch, 'show_slots', *weights, f'{files["scenes"]}/img_dir',
             '--out', tmp_path, '--resize', 64, '--crop', 64, '--workers', 0)
    run_tool(monkeypatch, 'score_slots', *weights, '--data', files['scenes'],
             '--max-images', 2)
    out = capsys.readouterr().out
    assert 'of 12 slots in use' in out and f'Wrote {tmp_path}/overlays.png' in out
    assert '2 images, 12 slots' in out and 'random prototypes' in out


def test_tools_end_in_a_sentence(files, tmp_path, monkeypatch):
    good = files['config'], files['checkpoint']
    with pytest.raises(SystemExit, match=r'^show_slots.py: .*nowhere: no such image'):
        run_tool(monkeypatch, 'show_slots', *good, tmp_path / 'nowhere')
    with pytest.raises(SystemExit, match='^score_slots.py: checkpoint no.pth does not'):
        run_tool(monkeypatch, 'score_slots', good[0], 'no.pth', '--data',
                 files['scenes'])

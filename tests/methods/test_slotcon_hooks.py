from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.methods.slotcon import SlotImagesHook, SlotProbeHook
from mmcontrast.methods.slotcon.slot_images_hook import keep_ranks
from tests.helpers.slot_files import CONFIG

TOY = dict(type='ShapesDataset', num_images=6, size=64, with_annotations=True)
VIEWS = [dict(type='LoadImage'), dict(type='TwoViews', size=64, views='BYOL'),
         dict(type='PackViews')]


def train(work_dir, hooks, dataset=None, epochs=2):
    """Two iterations an epoch of a small SlotCon; the runner, after training."""
    dataset = dataset or dict(type='ShapesDataset', num_images=8, size=64)
    cfg = Config.fromstring(CONFIG, '.py')
    runner = Runner(
        cfg.model, str(work_dir), default_scope='mmcontrast',
        train_dataloader=dict(
            batch_size=4, num_workers=0, drop_last=True,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dict(dataset, pipeline=VIEWS)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           momentum=dict(type='MomentumHook')),
        custom_hooks=hooks, randomness=dict(seed=0), log_level='WARNING',
        experiment_name=f'{work_dir.parent.name}-{work_dir.name}')
    runner.train()
    return runner


def sheets(work_dir):
    """Steps of the sheets that were written."""
    return {int(p.stem.split('_')[-1]): p
            for p in Path(work_dir).rglob('vis_data/vis_image/slots_*.png')}


def test_sheets_come_at_the_start_at_intervals_and_at_the_end(tmp_path):
    train(tmp_path / 'run', [SlotImagesHook(interval=2, num_images=2, size=64)],
          epochs=3)
    found = sheets(tmp_path)
    assert sorted(found) == [0, 4, 6]
    # A title and two square images, 360 wide.
    assert Image.open(found[6]).height == 30 + 2 * (360 + 30)


def test_training_is_the_same_with_and_without_the_hooks(tmp_path):
    plain = train(tmp_path / 'plain', [])
    hooks = [SlotImagesHook(num_images=2, size=64), SlotProbeHook(TOY, num_images=2)]
    with_hooks = train(tmp_path / 'with_hooks', hooks)
    assert with_hooks.model.training
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, with_hooks.model.state_dict()[name]), name


def test_given_files_and_folders_of_images_can_be_drawn(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        noise = rng.integers(256, size=(70, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f'{i}.png')
    given = SlotImagesHook(images=[str(folder / '3.png')], size=64)
    found = SlotImagesHook(num_images=3, size=64)
    train(tmp_path / 'run', [given, found], epochs=1,
          dataset=dict(type='UnlabeledImages', data_root=str(folder)))
    assert [name for name, _ in given._pixels] == ['3.png']
    # Evenly spread: places 0, 3.5 and 7 of 8.
    assert [name for name, _ in found._pixels] == ['0.png', '4.png', '7.png']
    assert found._pixels[0][1].shape == (3, 64, 96)


def test_a_slot_keeps_its_color_while_it_is_in_use():
    first = keep_ranks({}, np.array([5, 0, 9, 1]))
    assert first == {2: 0, 0: 1, 3: 2}
    # Slot 0 goes; slot 1 takes its place, slot 4 comes behind.
    assert keep_ranks(first, np.array([0, 8, 1, 9, 2])) == {2: 0, 3: 2, 1: 1, 4: 3}


def test_the_probe_logs_its_scores_from_the_start(tmp_path):
    runner = train(tmp_path / 'run', [SlotProbeHook(TOY, size=64)])
    history = {name: runner.message_hub.get_scalar(f'slots/{name}').data[0]
               for name in ('fg_ari', 'miou', 'accuracy', 'things_miou', 'in_use')}
    assert {len(values) for values in history.values()} == {3}
    assert all(-1 <= x <= 1 for x in history['fg_ari'])
    assert all(0 < x <= 1 for x in history['things_miou'])
    assert all(1 <= x <= 12 for x in history['in_use'])


@pytest.mark.parametrize('hook', [SlotImagesHook(), SlotProbeHook(TOY)])
def test_a_model_without_slots_is_rejected(hook, tmp_path):
    from tests.engine.test_monitor_hooks import Tiny
    from tests.engine.test_monitor_hooks import train as train_tiny

    class Half(Tiny):
        slot_scores = Tiny.forward

    with pytest.raises(TypeError, match=f'{type(hook).__name__}: Half has no slots.*'
                                        'slot_scores and slot_prototypes'):
        train_tiny(tmp_path / 'run', [hook], kind=Half)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match='SlotImagesHook: interval must be 1'):
        SlotImagesHook(interval=0)
    with pytest.raises(ValueError, match='got 0 and 224'):
        SlotImagesHook(num_images=0)


def test_nothing_is_drawn_of_a_stream_and_the_log_says_why(tmp_path):
    from tests.engine.test_monitor_hooks import Tiny, log_text
    from tests.engine.test_monitor_hooks import train as train_tiny

    class Slots(Tiny):
        slot_scores = slot_prototypes = Tiny.forward

    # The tiny run feeds a plain Dataset, which has no images to load.
    train_tiny(tmp_path / 'run', [SlotImagesHook()], kind=Slots)
    text = log_text(tmp_path)
    assert text.count('SlotImagesHook cannot pick images of a Images') == 1
    assert not sheets(tmp_path)

"""Checkpoints written before names and folders changed still load and resume.

tests/data/old_checkpoints/README.md says how they were made.
"""
import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from mmcontrast.apis.config import load_config
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.manifest import read_manifest
from mmcontrast.registry import MODELS
from tests.helpers.denseclip_case import released_name
from tests.helpers.runs import run, scalars

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parents[1] / 'data' / 'old_checkpoints'
CASES = ('clip', 'denseclip_det', 'denseclip_seg', 'pixpro', 'slotcon')

pytestmark = [
    pytest.mark.usefixtures('scope_as_it_was'),
    pytest.mark.skipif(torch.cuda.is_available(), reason='the numbers are of a CPU')]


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """What is expected, and the checkpoint alone in a work dir."""
    folder, work_dir = FOLDER / request.param, tmp_path / 'run'
    expected = json.loads((folder / 'expected.json').read_text())
    for package in expected['needs']:
        pytest.importorskip(package)
    work_dir.mkdir()
    checkpoint = work_dir / 'iter_2.pth'
    checkpoint.write_bytes(gzip.decompress(
        (folder / 'iter_2.pth.gz').read_bytes()))
    shutil.copy(folder / 'iter_2.pth.json', work_dir)
    return expected, checkpoint


def config(expected: dict) -> str:
    return str(ROOT / expected['config'])


def images(shape: list) -> torch.Tensor:
    """As 'how' in expected.json says."""
    k = torch.arange(torch.Size(shape).numel())
    return ((7919 * k % 1009).double() / 504.5 - 1).float().reshape(shape)


def tensors(nested) -> list[torch.Tensor]:
    if isinstance(nested, torch.Tensor):
        return [nested.double()]
    return [x for part in nested for x in tensors(part)]


def fingerprint(state: dict) -> dict[str, float]:
    """Sum of the absolute values by the first two words of the former keys."""
    sums = {}
    for key, value in state.items():
        part = '.'.join(released_name(key).split('.')[:2])
        sums[part] = sums.get(part, 0.) + value.double().abs().sum().item()
    return sums


@torch.no_grad()
def test_an_old_checkpoint_gives_the_outputs_that_it_gave(case):
    expected, checkpoint = case
    cfg = load_config(config(expected), expected['cfg_options'])
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
    model.load_state_dict(read_checkpoint(checkpoint)['state_dict'], strict=True)
    outputs = tensors(model(images(expected['input_shape']), mode='tensor'))
    for output, known in zip(outputs, expected['outputs'], strict=True):
        assert list(output.shape) == known['shape']
        found = [output.mean(), output.std(correction=0), *output.flatten()[:5]]
        assert torch.stack(found).tolist() == pytest.approx(
            [known['mean'], known['std'], *known['first']], rel=1e-4, abs=1e-6)


def test_an_old_run_resumes_as_it_did(case, tmp_path):
    expected, checkpoint = case
    assert read_manifest(checkpoint).mismatch(checkpoint) is None
    options = dict(expected['cfg_options'])
    if expected['scenes']:
        options['train_dataloader.dataset.data_root'] = str(make_shapes(
            tmp_path / 'scenes', **expected['scenes'], progress=False))
    runner = run(config(expected), checkpoint.parent, options, resume='auto')
    found = [{key: value for key, value in row.items()
              if key == 'step' or 'loss' in key} for row in scalars(checkpoint.parent)]
    # Two rows: it did not start again.
    assert len(found) == len(expected['losses']) == 2
    for row, known in zip(found, expected['losses'], strict=True):
        assert row == pytest.approx(known, rel=1e-4)
    assert fingerprint(runner.model.state_dict()) == pytest.approx(
        expected['fingerprint'], rel=1e-4)

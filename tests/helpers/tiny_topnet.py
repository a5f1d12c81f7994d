"""A TopNet and its batches, small enough for many tests."""
import numpy as np
import torch
from PIL import Image

from mmcontrast.methods.topnet import PlacementSample
from mmcontrast.registry import MODELS

# Images of 32 x 32: 4 x 4 tokens, and a map of 4 scales and 16 x 16 places.
SIZE, GRID = 32, dict(size=(16, 16), scales=4)
ENCODER = dict(type='PlainViT', layers=1, width=16, heads=2, patch_size=8, pos_grid=4)
MODEL = dict(
    type='TopNet', background_encoder=ENCODER, object_encoder=ENCODER, grid=GRID,
    image_size=(SIZE, SIZE),
    fusion=dict(layers=1, heads=2, decoder_channels=(12, 8)))


def build(seed: int = 0, **changes):
    """The model, with drawn weights and statistics of batch norm."""
    torch.manual_seed(seed)
    model = MODELS.build(dict(MODEL, **changes))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return model


def batch(count: int = 2, seed: int = 0, backgrounds: int | None = None) -> dict:
    """What a loader gives: uint8 images, and samples with one or two positives."""
    generator = torch.Generator().manual_seed(seed)

    def images(number, channels):
        return [torch.randint(256, (channels, SIZE, SIZE), generator=generator).byte()
                for _ in range(number)]
    samples = [PlacementSample(
        metainfo=dict(background_wh=(100 + 10 * i, 80), object_wh=(20 + i, 30)),
        positives=[[10, 20, 20, 30], [50, 40, 20, 30]][:1 + i % 2],
        negatives=[[0, 0, 90, 70]][:i % 2]) for i in range(count)]
    return dict(inputs=dict(background=images(backgrounds or count, 3),
                            object=images(count, 4)), data_samples=samples)


def scene(width: int = 96, height: int = 64, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 background: ground below noise."""
    made = np.random.default_rng(seed).integers(90, 200, (height, width, 3))
    made[height // 2:] = (70, 120, 60)
    return made.astype(np.uint8)


def rgba(width: int = 20, height: int = 30) -> np.ndarray:
    """(height, width, 4) uint8 cut-out: a red ellipse that touches its four edges."""
    y, x = np.mgrid[:height, :width]
    inside = ((2 * x + 1) / width - 1) ** 2 + ((2 * y + 1) / height - 1) ** 2 <= 1
    made = np.zeros((height, width, 4), np.uint8)
    made[inside] = (200, 30, 40, 255)
    return made


def write_files(folder, **changes) -> tuple[str, str, str, str]:
    """Config and checkpoint of the model, a background and a cut-out; their paths."""
    config, checkpoint, background, cutout = (folder / name for name in (
        'tiny.py', 'tiny.pth', 'scene.png', 'cutout.png'))
    config.write_text(
        f'model = {MODEL | changes!r}\n'
        f"test_pipeline = [dict(type='PrepareTopNet', background_size={SIZE},\n"
        f"                      object_size={SIZE}), dict(type='PackPlacement')]\n"
        "test_dataloader = dict(dataset=dict(\n"
        "    type='ShapesPlacements', num_pairs=2, split='val', "
        'pipeline=test_pipeline))\n')
    torch.save(dict(state_dict=build(**changes).state_dict(), meta={}), checkpoint)
    Image.fromarray(scene()).save(background)
    Image.fromarray(rgba()).save(cutout)
    return str(config), str(checkpoint), str(background), str(cutout)

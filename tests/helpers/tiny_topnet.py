"""A TopNet and its batches, small enough for many tests."""
import torch

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

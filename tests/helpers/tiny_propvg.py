"""A PropVG and its batches, small enough for many tests."""
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmcontrast.registry import MODELS

# Images of 64 x 64: 4 x 4 tokens, and a mask branch of 16 x 16 cells.
SIZE, NUM_QUERIES = 64, 6
MODEL = dict(
    type='PropVG',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    encoder=dict(type='BEiT3', image_size=SIZE, embed_dims=16, depth=2, num_heads=2,
                 feedforward=32, vocab_size=256, max_text_positions=32),
    tokenizer=dict(type='BEiT3Tokenizer', model_file='shapes', max_tokens=12),
    head=dict(type='PropVGHead', channels=16, num_queries=NUM_QUERIES, num_layers=2,
              num_heads=2))
PHRASES = ('the red circle', 'large blue square on the left', 'green triangle',
           'a circle')


def config(**changes) -> dict:
    """:data:`MODEL` with options of its parts changed: ``head=dict(...)``.

    Values that are no dict replace those of the model.
    """
    return MODEL | {
        key: MODEL.get(key, {}) | value if isinstance(value, dict) else value
        for key, value in changes.items()}


def build(seed: int = 0, **changes):
    """The model of :func:`config`, with drawn weights and statistics of batch norm."""
    torch.manual_seed(seed)
    model = MODELS.build(config(**changes))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return model


def sample(boxes: list, referred: list[bool], text: str = PHRASES[0],
           ori_shape: tuple[int, int] = (96, 128), **metainfo) -> DetDataSample:
    """A sample whose mask is the union of the referred boxes.

    Args:
        boxes: N foreground boxes xyxy in whole pixels of the input.
        referred: Which of them the phrase means.
    """
    height, width = ori_shape
    made = DetDataSample(metainfo=dict(
        text=text, ori_shape=ori_shape, img_shape=(SIZE, SIZE),
        scale_factor=(SIZE / width, SIZE / height), **metainfo))
    made.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        referred=torch.tensor(referred, dtype=torch.bool),
        labels=torch.zeros(len(boxes), dtype=torch.int64))
    made.gt_mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for (left, top, right, bottom), is_meant in zip(boxes, referred, strict=True):
        if is_meant:
            made.gt_mask[top:bottom, left:right] = True
    return made


def batch(count: int = 2, seed: int = 0) -> dict:
    """What a loader gives: uint8 BGR images, and samples in turn with one target, two
    targets and none."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(256, (3, SIZE, SIZE), generator=generator).byte()
              for _ in range(count)]
    boxes = [[4, 8, 30, 40], [34, 10, 60, 50], [10, 42, 50, 62]]
    meant = [[True, False, False], [True, True, False], [False, False, False]]
    samples = [sample(boxes, meant[i % 3], PHRASES[i % len(PHRASES)], img_id=i)
               for i in range(count)]
    return dict(inputs=images, data_samples=samples)


def image(width: int = 128, height: int = 96, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 image: a red and a blue box on noise."""
    made = np.random.default_rng(seed).integers(90, 200, (height, width, 3))
    made[height // 8:height // 2, width // 8:width // 2] = (200, 30, 40)
    made[height // 2:-8, width // 2:-8] = (40, 30, 200)
    return made.astype(np.uint8)


def write_files(folder, **changes) -> tuple[str, str]:
    """Config and checkpoint of :func:`build`, for tests of tools; their paths."""
    paths = folder / 'tiny_propvg.py', folder / 'tiny_propvg.pth'
    paths[0].write_text(
        f"default_scope = 'mmcontrast'\nmodel = {config(**changes)!r}\n"
        'test_dataloader = dict(dataset=dict(pipeline=[\n'
        "    dict(type='LoadGroundingImage'),\n"
        "    dict(type='LoadGroundingAnnotations'),\n"
        f"    dict(type='ResizeGrounding', scale={SIZE}),\n"
        "    dict(type='PackGrounding')]))\n")
    torch.save(dict(state_dict=build(**changes).state_dict(), meta={}), paths[1])
    return tuple(map(str, paths))

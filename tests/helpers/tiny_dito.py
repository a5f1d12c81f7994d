"""A DITO detector and its samples, small enough for many tests."""
import copy

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from mmcontrast.registry import MODELS

CLASSES = ('red circle', 'blue square', 'green star')
SIZE = 64
MODEL = dict(
    type='DITODetector',
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor', mean=[0.] * 3,
                           std=[255.] * 3, bgr_to_rgb=True, pad_mask=True),
    backbone=dict(type='PlainViT', layers=2, width=32, heads=2, patch_size=8,
                  pos_grid=8, windows=(2, None), shift=2),
    neck=dict(type='SimpleFeaturePyramid', in_channels=32, out_channels=16,
              levels=(2, 3, 4), patch_stride=8),
    rpn_head=dict(type='CenternessRPNHead', in_channels=16, feat_channels=16,
                  strides=(4, 8, 16), anchor_scale=4),
    roi_head=dict(
        type='TextRoIHead', strides=(4, 8, 16), vlm_stride=8,
        bbox_head=dict(type='TextBoxHead', in_channels=16, num_convs=1,
                       conv_channels=16, fc_channels=32, embed_dims=32),
        mask_head=dict(type='NormedMaskHead', in_channels=16, num_convs=1,
                       conv_channels=16)),
    vlm=dict(windows=(2, None)),
    class_names=CLASSES,
    text_encoder=dict(type='CLIPTextEncoder', embed_dims=32, width=16, heads=2,
                      layers=1),
    templates='name',
    train_cfg=dict(rpn=dict(num_samples=64, max_positives=32),
                   rpn_proposal=dict(nms_pre=100, max_per_img=50, nms_iou=0.7),
                   rcnn=dict(num_samples=32)),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=50, nms_iou=1.0),
                  rcnn=dict(max_per_img=20)))


def build(seed=0, **changes):
    """The detector, with text embeddings that differ."""
    torch.manual_seed(seed)
    config = copy.deepcopy(MODEL)
    for key, value in changes.items():
        place = config
        *path, last = key.split('__')
        for name in path:
            place = place[name]
        place[last] = value
    model = MODELS.build(config)
    model.init_weights()
    texts = model.class_texts
    for name, parameter in texts.named_parameters():
        if parameter.ndim == 2 and 'text_encoder' in name:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return model


def sample(boxes=((8, 8, 40, 40),), labels=(1,), size=SIZE, with_masks=True):
    """One sample with boxes and the masks that fill them."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    found = DetDataSample(metainfo=dict(
        img_shape=(size, size), ori_shape=(size, size), scale_factor=(1.0, 1.0),
        batch_input_shape=(size, size), pad_shape=(size, size), img_id=0,
        img_path='a.jpg'))
    truth = InstanceData(bboxes=boxes, labels=torch.tensor(labels, dtype=torch.long))
    if with_masks:
        masks = torch.zeros(len(boxes), size, size, dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(),
                                                    strict=True):
            mask[top:bottom, left:right] = 1
        truth.masks = BitmapMasks(masks.numpy(), size, size)
    found.gt_instances, found.ignored_instances = truth, InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return found


def image(size=SIZE, seed=0):
    """(3, size, size) uint8: noise, with a bright square where `sample` has its box."""
    made = torch.randint(
        0, 80, (3, size, size), generator=torch.Generator().manual_seed(seed))
    made[:, 8:40, 8:40] = torch.tensor([200, 60, 60])[:, None, None]
    return made.to(torch.uint8)


def write_files(folder, **changes):
    """Config and checkpoint of the detector, and an image; their paths."""
    import cv2
    config, checkpoint, path = (folder / name for name in
                                ('tiny.py', 'tiny.pth', 'image.png'))
    config.write_text(
        "default_scope = 'mmdet'\n"
        f'model = {MODEL | changes!r}\n'
        'test_pipeline = [\n'
        "    dict(type='LoadImageFromFile'),\n"
        f"    dict(type='Resize', scale=({SIZE}, {SIZE}), keep_ratio=True),\n"
        "    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape',\n"
        "                                          'img_shape', 'scale_factor'))]\n"
        'test_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n')
    torch.save(dict(state_dict=build(**changes).state_dict(), meta={}), checkpoint)
    cv2.imwrite(str(path), image(2 * SIZE).permute(1, 2, 0).numpy())
    return str(config), str(checkpoint), str(path)

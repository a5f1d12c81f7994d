"""Configs in mmengine's new style, in the layout of mmdet, mmseg and mmpretrain.

The packages leave theirs out of the wheels. These are short ones, on the toy
world: classes and functions as types, bases by ``read_base()``, no default scope.
"""
from pathlib import Path

FILES = {}
FILES['_base_/default_runtime.py'] = """
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import CheckpointHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop

default_scope = None
default_hooks = dict(
    timer=dict(type=IterTimerHook), logger=dict(type=LoggerHook, interval=1),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=2))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2, val_interval=2)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
log_level = 'INFO'
load_from = None
resume = False
"""
FILES['_base_/schedule.py'] = """
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LinearLR
from torch.optim.sgd import SGD

optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01, momentum=0.9))
param_scheduler = [dict(type=LinearLR, start_factor=0.5, by_epoch=False, end=2)]
"""
_DATA = """
from mmengine.dataset import DefaultSampler
from mmengine.dataset.sampler import InfiniteSampler
{imports}
from mmcontrast.datasets.shapes import ShapesDataset

train_pipeline = [{steps}]
train_dataloader = dict(
    batch_size=2, num_workers=0, collate_fn=dict(type={collate}),
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=ShapesDataset, num_images=4, size=64, with_annotations=True,
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ShapesDataset, num_images=2, split='val', size=64,
                 with_annotations=True, pipeline=train_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict({evaluator})
test_evaluator = val_evaluator
"""
FILES['_base_/seg_data.py'] = _DATA.format(
    imports='from mmengine.dataset.utils import pseudo_collate\n'
    'from mmseg.datasets.transforms import PackSegInputs\n'
    'from mmseg.evaluation import IoUMetric', steps='dict(type=PackSegInputs)',
    collate='pseudo_collate', evaluator="type=IoUMetric, iou_metrics=['mIoU']")
FILES['_base_/det_data.py'] = _DATA.format(
    imports='from mmengine.dataset.utils import pseudo_collate\n'
    'from mmdet.datasets.transforms import PackDetInputs\n'
    'from mmdet.evaluation import VOCMetric\n'
    'from tests.helpers.new_style_files import without_resizing',
    steps='dict(type=without_resizing), dict(type=PackDetInputs)',
    collate='pseudo_collate', evaluator="type=VOCMetric, eval_mode='11points'")
FILES['_base_/cls_data.py'] = _DATA.format(
    imports='from mmengine.dataset import default_collate\n'
    'from mmpretrain.datasets import PackInputs\n'
    'from mmpretrain.evaluation import Accuracy\n'
    'from tests.helpers.new_style_files import label_of_first_object',
    steps='dict(type=label_of_first_object), dict(type=PackInputs)',
    collate='default_collate', evaluator='type=Accuracy, topk=(1, )')
FILES['_base_/fcn_r18.py'] = """
from mmseg.models import EncoderDecoder, FCNHead, ResNetV1c, SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from torch.nn import SyncBatchNorm

norm_cfg = dict(type=SyncBatchNorm, requires_grad=True)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor, mean=[120.] * 3, std=[60.] * 3, bgr_to_rgb=True,
        size=(64, 64), seg_pad_val=255),
    backbone=dict(
        type=ResNetV1c, depth=18, base_channels=4, stem_channels=4, norm_cfg=norm_cfg,
        strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True),
    decode_head=dict(
        type=FCNHead, in_channels=32, channels=8, num_convs=1, num_classes=10,
        norm_cfg=norm_cfg,
        loss_decode=dict(type=CrossEntropyLoss, use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""
# Parts without their class are mmdet's defaults; mmcv's nms is a name of its code.
FILES['_base_/retinanet_r18.py'] = """
from mmdet.models import FPN, DetDataPreprocessor, ResNet, RetinaHead, RetinaNet
from mmdet.models.losses import FocalLoss
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch.nn import BatchNorm2d

model = dict(
    type=RetinaNet,
    data_preprocessor=dict(type=DetDataPreprocessor, mean=[120.] * 3, std=[60.] * 3,
                           bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(type=ResNet, depth=18, base_channels=4, stem_channels=4,
                  norm_cfg=dict(type=BatchNorm2d), out_indices=(1, 2)),
    neck=dict(type=FPN, in_channels=[8, 16], out_channels=8, num_outs=2),
    bbox_head=dict(
        type=RetinaHead, num_classes=10, in_channels=8, feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type=AnchorGenerator, scales=[4], ratios=[1.0], strides=[8, 16]),
        bbox_coder=dict(type=DeltaXYWHBBoxCoder), loss_cls=dict(type=FocalLoss),
        loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(assigner=dict(
        type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.0,
                  nms=dict(type='nms', iou_threshold=0.5), max_per_img=5))
"""
FILES['_base_/resnet18.py'] = """
from mmpretrain.models import (GlobalAveragePooling, ImageClassifier, LinearClsHead,
                               ResNet)
from mmpretrain.models.losses import CrossEntropyLoss
from mmpretrain.models.utils.data_preprocessor import ClsDataPreprocessor

model = dict(
    type=ImageClassifier, data_preprocessor=dict(
        type=ClsDataPreprocessor, mean=[120.] * 3, std=[60.] * 3, num_classes=10),
    backbone=dict(type=ResNet, depth=18, num_stages=4, base_channels=4, stem_channels=4,
                  out_indices=(3, ), style='pytorch'),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=32,
              loss=dict(type=CrossEntropyLoss, loss_weight=1.0), topk=(1, )))
"""
_CHILD = """
from mmengine.config import read_base

with read_base():
    from .._base_.{data} import *
    from .._base_.default_runtime import *
    from .._base_.schedule import *
    from .._base_.{model} import *

{changes}"""
FILES['seg/fcn.py'] = _CHILD.format(
    data='seg_data', model='fcn_r18', changes="""
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.visualization import SegLocalVisualizer

default_hooks.update(visualization=dict(type=SegVisualizationHook))
visualizer = dict(type=SegLocalVisualizer, name='new-style-seg')
model.update(dict(decode_head=dict(num_convs=2)))
""")
FILES['det/retinanet.py'] = _CHILD.format(
    data='det_data', model='retinanet_r18', changes="""
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.visualization import DetLocalVisualizer
from mmengine.visualization import LocalVisBackend

default_hooks.update(dict(visualization=dict(type=DetVisualizationHook)))
visualizer = dict(type=DetLocalVisualizer, name='new-style-det',
                  vis_backends=[dict(type=LocalVisBackend)])
""")
FILES['cls/resnet18.py'] = _CHILD.format(
    data='cls_data', model='resnet18', changes="""
from mmpretrain.visualization import UniversalVisualizer

visualizer = dict(type=UniversalVisualizer, name='new-style-cls')
""")
#: The configs that are no bases.
CONFIGS = tuple(name for name in FILES if not name.startswith('_base_'))


def label_of_first_object():
    """A transform that a function makes: the class of an image's first object."""
    return lambda results: results | dict(gt_label=int(results['gt_bboxes_labels'][0]))


def without_resizing():
    """Notes the factor between an image and what the network sees."""
    return lambda results: results | dict(scale_factor=(1.0, 1.0))


def write_files(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder

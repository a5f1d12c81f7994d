"""Plain models of mmdet and mmseg as their Runner builds them, and batches for them."""
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData

NORM = [255 * x for x in (0.48145466, 0.4578275, 0.40821073)]
STD = [255 * x for x in (0.26862954, 0.26130258, 0.27577711)]


def build(scope: str, model: dict):
    """A model as a Runner of that library builds it; see ``scope_as_it_was``."""
    DefaultScope.get_instance(f'{scope}-plain-models', scope_name=scope)
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(model))
    model.init_weights()
    return model


def step_lowers_the_loss(model, data: dict) -> None:
    """Five small steps on one batch; every parameter takes part."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(5):
        batch = model.data_preprocessor(data, training=True)
        losses = model(**batch, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for part in (model.backbone, model.neck)
                   for p in part.parameters())
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0]


def segmentation_batch(height: int, width: int) -> dict:
    """Two random images with random labels of three classes."""
    from mmseg.structures import SegDataSample
    data = dict(inputs=[], data_samples=[])
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        data['inputs'].append(
            torch.randint(256, (3, height, width), generator=generator).byte())
        sample = SegDataSample(gt_sem_seg=PixelData(
            data=torch.randint(3, (1, height, width), generator=generator)))
        sample.set_metainfo(
            dict(img_shape=(height, width), ori_shape=(height, width)))
        data['data_samples'].append(sample)
    return data


def blank_images(height: int, width: int) -> dict:
    """One black image for a segmentor to predict on."""
    from mmseg.structures import SegDataSample
    sample = SegDataSample()
    sample.set_metainfo(dict(img_shape=(height, width), ori_shape=(height, width)))
    return dict(inputs=[torch.zeros(3, height, width).byte()], data_samples=[sample])


def detection_batch(height: int, width: int) -> dict:
    """One random image with a box of class 1."""
    from mmdet.structures import DetDataSample
    sample = DetDataSample(gt_instances=InstanceData(
        bboxes=torch.tensor([[8.0, 8, 60, 50]]), labels=torch.tensor([1])))
    sample.set_metainfo(dict(
        img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)))
    image = torch.randint(256, (3, height, width), generator=torch.Generator()
                          .manual_seed(0)).byte()
    return dict(inputs=[image], data_samples=[sample])

"""The whole PropVG and its training against the reference."""
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import InstanceData

from mmcontrast.methods.propvg.names import our_weights
from mmcontrast.methods.propvg.propvg import ranked
from mmcontrast.methods.propvg.tokenizer import TextTokens
from mmcontrast.registry import MODELS
from mmcontrast.structures import PhrasePrediction
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case, padding_mask

pytestmark = pytest.mark.usefixtures('nan_weights')

SIDE = 64
CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_'


def filled_model(case: Case, encoder: dict, head: dict):
    """A model with the weights of the case."""
    model = MODELS.build(dict(
        type='PropVG', encoder=dict(type='BEiT3', image_size=SIDE, **encoder),
        tokenizer=dict(type='BEiT3Tokenizer', model_file='shapes'), head=head))
    model.load_state_dict(our_weights(case.params()))
    return model


def given_tokens(model, ids, lengths: list[int]) -> None:
    """Phrases of the model become these ids, which no phrase was cut into."""
    tokens = TextTokens(ids, padding_mask(lengths, ids.shape[1]))
    model.tokenizer = lambda texts: tokens


@torch.no_grad()
def test_whole_model():
    case = Case('whole_model')
    config = case.config
    model = filled_model(case, dict(vocab_size=config['vocab']), {}).eval()
    ids = (fill.rand('propvg/whole/ids', (2, 12)) * config['vocab']).long()
    given_tokens(model, ids, [5, 12])
    images = case.draw('whole/img', (2, 3, SIDE, SIDE))
    pair = model.encoder(images, *model.tokenizer(()))
    samples = [DetDataSample(metainfo=dict(
        text='', ori_shape=tuple(config['ori_shape']), img_shape=(SIDE, SIDE)))
        for _ in range(2)]
    outputs = model(images, samples)
    logits, boxes = (x[-1] for x in (outputs.proposals.logits, outputs.proposals.boxes))
    case.check(dict(
        img_feat=pair.image.flatten(2).mT, text_feat=pair.text,
        mask_logits=outputs.mask_logits, pred_logits=logits, pred_boxes=boxes,
        scores=model.head.scores(outputs), exist_score=outputs.exists[:, None],
        boxes_px=bbox_cxcywh_to_xyxy(boxes).clamp(0, 1) * SIDE))
    model.test_cfg['rescale'] = True
    samples = model(images, samples, mode='predict')
    # Ours are sorted, the reference's are in the order of the queries.
    orders = model.head.scores(outputs).argsort(descending=True, stable=True)
    rescaled = torch.stack([sample.pred_instances.bboxes[order.argsort()]
                            for sample, order in zip(samples, orders, strict=True)])
    case.check(dict(boxes_rescaled=rescaled, mask=stacked(samples, 'pred_mask'),
                    mask_rescaled=stacked(samples, 'pred_mask_original')))


def stacked(samples: list[DetDataSample], field: str) -> torch.Tensor:
    return torch.stack([sample.get(field) for sample in samples]).to(torch.uint8)


def test_three_training_steps_of_the_config():
    case = Case('train_steps')
    encoder = dict(case.config['encoder'], vocab_size=case.config['vocab'], drop_path=0)
    for theirs, ours in (('dim', 'embed_dims'), ('heads', 'num_heads'),
                         ('layers', 'depth'), ('ffn', 'feedforward')):
        encoder[ours] = encoder.pop(theirs)
    model = filled_model(case, encoder, dict(dropout=0)).train()
    config = Config.fromfile(CONFIGS / 'propvg_runtime.py')
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    hub = MessageHub.get_current_instance()
    rows = []
    for step in range(3):
        ids = fill.rand(f'propvg/steps/ids{step}', (2, 10)) * case.config['vocab']
        given_tokens(model, ids.long(), [4, 10])
        boxes = torch.from_numpy(case.arrays[f'in_gt_boxes_{step}'])
        losses = model(fill.randn(f'propvg/steps/img{step}', (2, 3, SIDE, SIDE)),
                       samples(boxes.split([3, 2])), mode='loss')
        total = sum(losses.values())
        optimizer.update_params(total)
        norm = hub.get_scalar('train/grad_norm').current()
        rows.append([*(losses[name].item() for name in case.config['columns'][:4]),
                     total.item(), float(norm)])
    case.check(dict(trace=torch.tensor(rows, dtype=torch.float64)))


def samples(boxes: tuple) -> list[DetDataSample]:
    """The phrase of the first image means its boxes 0 and 2, that of the second none.
    """
    made = []
    for several, meant in zip(boxes, ([0, 2], []), strict=True):
        sample = DetDataSample(metainfo=dict(text='', img_shape=(SIDE, SIDE)))
        sample.gt_instances = InstanceData(
            bboxes=several.float(),
            referred=torch.isin(torch.arange(len(several)), torch.tensor(meant)))
        sample.gt_mask = torch.zeros(SIDE, SIDE)
        for left, top, right, bottom in several[meant].round().int().tolist():
            sample.gt_mask[top:bottom, left:right] = 1
        made.append(sample)
    return made


@pytest.mark.parametrize('output, nms_iou', [('keep', 0.7), ('keep_05', 0.5)])
def test_nms(output, nms_iou):
    case = Case('nms')
    boxes, scores = (torch.from_numpy(case.arrays[f'in_{name}'])
                     for name in ('boxes', 'scores'))
    found = PhrasePrediction(boxes, scores, None, torch.zeros(1, 1))
    case.check({output: ranked(found, nms_iou)})


@pytest.mark.parametrize('output, name', [
    ('gref', 'propvg_runtime'), ('refcoco', 'propvg_runtime_30e')])
def test_learning_rates_of_the_configs(output, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedulers = [PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer))
                  for each in config.param_scheduler]
    factors = []
    for _ in range(config.train_cfg.max_epochs):
        factors.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    case = Case('lr_schedule')
    case.check({output: torch.tensor(factors, dtype=torch.float64)})

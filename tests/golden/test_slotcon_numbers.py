"""SlotCon against the numbers of its reference implementation."""
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcontrast.engine import LARS, cosine_momentum, two_groups, warmup_cosine
from mmcontrast.methods.slotcon import (
    Aligner,
    Overlap,
    SlotCon,
    SlotGrouping,
    Slots,
    distillation,
    slot_contrast,
    update_center,
)
from mmcontrast.methods.slotcon.grouping import first_pixel
from mmcontrast.models.layers import RowMLP
from mmcontrast.testing.golden import Case
from mmcontrast.testing.ranks import on_ranks
from tests.helpers import stand_in  # noqa: F401

pytestmark = pytest.mark.usefixtures('nan_weights')

FOLDER = str(Path(__file__).parent / 'slotcon')
LAYERS = {'mlp.0': 'linear1', 'mlp.1': 'bn1', 'mlp.3': 'linear2', 'mlp.4': 'bn2',
          'mlp.6': 'linear3', 'slot_embed.weight': 'prototypes'}
MODULES = dict(encoder='backbone', projector='projector', grouping='grouping')


def ours(key: str) -> str:
    """Our name of a parameter of the reference."""
    module, _, rest = key.partition('.')
    for theirs, layer in LAYERS.items():
        if rest.startswith(theirs) and not module.startswith('encoder'):
            rest = rest.replace(theirs, layer)
    name, _, branch = module.rpartition('_')
    if branch in ('q', 'k'):
        module = ('momentum.' if branch == 'k' else '') + MODULES[name]
    return f'{module}.{rest}'.replace('predictor_slot', 'predictor').rstrip('.')


def head(kind: str, config: dict, **changes) -> dict:
    return dict(type=kind, hidden_channels=config['dim_hidden'], num_layers=3,
                act_cfg=dict(type='GELU')) | changes


class Recording(SlotCon):
    """Keeps the single terms of its loss."""

    def terms_of(self, views, regions):
        self.terms = super().terms_of(views, regions)
        return self.terms


def slotcon(config: dict, backbone: dict) -> Recording:
    return Recording(
        backbone=backbone,
        projector=head('ConvMLP', config, out_channels=config['dim_out']),
        predictor=head('RowMLP', config),
        grouping=dict(type='SlotGrouping', num_slots=config['num_prototypes'],
                      temperature=config['teacher_temp']),
        student_temperature=config['student_temp'],
        teacher_temperature=config['teacher_temp'],
        contrast_temperature=config['tau'], center_momentum=config['center_momentum'],
        distill_weight=config['group_loss_weight'],
        data_preprocessor=dict(type='mmengine.BaseDataPreprocessor')).double().train()


def weights(case: Case, mixed: bool) -> dict:
    """Weights of a case; the teacher's are the student's, or mixed with their own."""
    params = case.params()
    for key, value in params.items():
        module, _, rest = key.partition('.')
        if module.endswith('_k') and value.is_floating_point():
            student = params[f'{module[:-1]}q.{rest}']
            params[key] = 0.8 * student + 0.2 * value if mixed else student
    return {ours(k): v.double() if v.is_floating_point() else v
            for k, v in params.items()}


def regions(inputs: dict) -> tuple[Overlap, Overlap]:
    first, second = (
        Overlap(torch.tensor(inputs[f'coords_{v}']).double(),
                torch.tensor(inputs[f'flags_{v}'])) for v in (1, 2))
    return first, second


def prototypes_first(scores: Tensor) -> Tensor:
    return scores.permute(0, 3, 1, 2)


def test_grouping():
    case = Case(FOLDER, 'grouping')
    config, out = case.meta['config'], {}
    for i, temperature in enumerate(config['temps']):
        grouping = SlotGrouping(config['dim'], config['num_slots'], temperature,
                                config['eps'])
        prototypes = case.params()['slot_embed.weight']
        grouping.load_state_dict(dict(prototypes=prototypes))
        x = case.input('x').requires_grad_()
        scores = grouping(x)
        slots = grouping.pool(x, scores)
        dots = prototypes_first(scores)
        ((slots * case.input('grad_slots')).sum()
         + (dots * case.input('grad_dots')).sum()).backward()
        out |= {f'slots_{i}': slots, f'dots_{i}': dots, f'grad_x_{i}': x.grad,
                f'grad_embed_{i}': grouping.prototypes.grad}
    assert set(out) == set(case.meta['outputs'])
    case.check(out)


def test_align():
    case = Case(FOLDER, 'align')
    boxes = torch.tensor([row['box'] for row in case.meta['inputs']['boxes']])
    flipped = torch.arange(2 * len(boxes)) >= len(boxes)
    region = Overlap(boxes.repeat(2, 1).float(), flipped)
    out = {}
    for rows, cols in case.meta['config']['maps']:
        name = f'{rows}x{cols}'
        x = case.input(f'x_{name}').permute(0, 2, 3, 1).contiguous().requires_grad_()
        aligned = prototypes_first(Aligner(region, rows, cols)(x))
        (aligned * case.input(f'grad_{name}')).sum().backward()
        out |= {f'out_{name}': aligned, f'grad_x_{name}': prototypes_first(x.grad)}
    assert set(out) == set(case.meta['outputs'])
    case.check(out)


def test_distill():
    case = Case(FOLDER, 'distill')
    config = case.meta['config']
    student = (2 * case.input('q') - 1).requires_grad_()
    teacher, center = 2 * case.input('k') - 1, case.input('center')

    def loss(center):
        return distillation(student, teacher, center, config['student_temp'],
                            config['teacher_temp'])

    loss(center).backward()
    case.check(dict(loss=loss(center), grad_q=student.grad,
                    loss_zero_center=loss(torch.zeros_like(center))))


def test_center_update():
    case = Case(FOLDER, 'center_update')
    center, rows = case.input('center'), case.input('rows')
    update_center(center, [rows], case.meta['config']['center_momentum'])
    first = center.clone()
    # In two halves, as two views are.
    update_center(center, (rows + 1).chunk(2), case.meta['config']['center_momentum'])
    case.check(dict(center=first, center_after_second_with_rows_plus_1=center))


def contrast_of(case: Case, place: str = '') -> dict:
    """Slots of the student, and what :func:`slot_contrast` makes of a case."""
    config, inputs = case.meta['config'], case.meta['inputs']
    for part in filter(None, place.split('/')):
        inputs = inputs[part]
    predictor = RowMLP(config['dim_out'], config['dim_hidden'], config['dim_out'],
                       num_layers=3, act_cfg=dict(type='GELU')).train()
    predictor.load_state_dict({
        ours(f'predictor_slot.{k}').removeprefix('predictor.'): v
        for k, v in case.params().items()})
    query = case.input(f'{place}q').requires_grad_()
    pair = []
    for which, vectors in enumerate((query, case.input(f'{place}k'))):
        scores = case.input(f'{place}score_{"qk"[which]}')
        for i, absent in enumerate(inputs['absent']):
            scores[i, absent[which]] -= 2
        winners = scores.flatten(2).argmax(1)
        num_slots = scores.shape[1]
        present = first_pixel(winners, num_slots) < winners.shape[1]
        pair.append(Slots(
            vectors, torch.where(present, torch.arange(num_slots), num_slots), winners))
    result, = slot_contrast([tuple(pair)], predictor, config['tau'])
    result.loss.backward()
    return dict(query=query, predictor=predictor, result=result)


def test_slot_contrast():
    case = Case(FOLDER, 'slot_contrast')
    found = contrast_of(case)
    result, predictor = found['result'], found['predictor']
    out = dict(loss=result.loss, logits=result.logits, labels=result.labels,
               grad_q=found['query'].grad)
    params, buffers = dict(predictor.named_parameters()), predictor.state_dict()
    for key in case.meta['outputs']:
        kind, _, name = key.partition(':')
        name = ours(f'predictor_slot.{name}').removeprefix('predictor.')
        if kind == 'grad':
            out[key] = params[name].grad
        elif kind == 'after':
            out[key] = buffers[name]
    assert set(out) == set(case.meta['outputs'])
    case.check(out)


def contrast_rank(rank: int) -> dict:
    case = Case(FOLDER, 'slot_contrast_2ranks')
    found = contrast_of(case, f'rank{rank}/')
    center = case.input('center')
    update_center(center, [case.input(f'rank{rank}/teacher_rows_for_center')],
                  case.meta['config']['center_momentum'])
    result = found['result']
    return {f'loss_{rank}': result.loss.detach(), f'logits_{rank}': result.logits,
            f'labels_{rank}': result.labels, f'grad_q_{rank}': found['query'].grad,
            f'grad_last_bias_{rank}': found['predictor'].linear3.bias.grad,
            f'center_{rank}': center}


def step(case: Case, config: dict, backbone: dict, mixed: bool, place: str = ''
         ) -> dict:
    """Everything a whole-model case lists, after a forward and a backward pass."""
    model = slotcon(config, backbone)
    model.load_state_dict(weights(case, mixed))
    model.momentum.coefficient = cosine_momentum(
        config['momentum_step_k'], config['momentum_total_K'], config['base_momentum'])
    first, change = (case.input(f'{place}im_{v}') for v in (1, 2))
    # The case adds them in float32.
    views = [first.double(), (first + change).double()]
    inputs = case.meta['inputs'][place[:-1]] if place else case.meta['inputs']
    seen = record(model)
    losses = model.losses_of(views, regions(inputs))
    loss = losses['loss_distill'] + losses['loss_slot']
    loss.backward()
    assert all(p.grad is None for p in model.momentum.parameters())
    distill, contrast, _ = model.terms
    out = dict(loss=loss, loss_distill=torch.stack(distill),
               loss_contrast=torch.stack([x.loss for x in contrast]),
               contrast_logits_shape=torch.tensor([x.logits.shape for x in contrast]))
    out |= {f'contrast_labels_{i}': x.labels for i, x in enumerate(contrast, 1)}
    out |= maps(model, seen, regions(inputs))
    state, params = model.state_dict(), dict(model.named_parameters())
    for key in case.meta['outputs']:
        kind, _, name = key.partition(':')
        if place and not name.endswith(f'_{place[4]}'):
            continue
        name = name[:-2] if place else name
        if kind == 'grad':
            out[f'grad:{name}'] = params[ours(name)].grad
        elif kind == 'after':
            out[f'after:{name}'] = state[ours(name)]
    return {key: value.detach() for key, value in out.items()}


def record(model: SlotCon) -> dict:
    """What projectors and groupings give, views in order."""
    seen, momentum_encoder = {}, model.momentum
    for name, module in dict(
        proj=model.projector,
        teacher_proj=momentum_encoder.projector,
        dots=model.grouping,
        teacher_dots=momentum_encoder.grouping,
    ).items():
        module.register_forward_hook(
            lambda _, inputs, output, name=name:
            seen.setdefault(name, []).append(output.detach()))
    return seen


def maps(model: SlotCon, seen: dict, regions: tuple[Overlap, Overlap]) -> dict:
    out = {}
    for i, region in enumerate(regions):
        align = Aligner(region, *seen['proj'][i].shape[2:])
        out[f'slots_{i + 1}'] = model.grouping.pool(seen['proj'][i], seen['dots'][i])
        for name in ('proj', 'teacher_proj'):
            out[f'{name}_{i + 1}'] = seen[name][i]
        for name, aligned in (('dots', 'aligned_dots'),
                              ('teacher_dots', 'teacher_aligned_dots')):
            out[f'{name}_{i + 1}'] = prototypes_first(seen[name][i])
            out[f'{aligned}_{i + 1}'] = prototypes_first(align(seen[name][i]))
    return out


@pytest.mark.parametrize('name, mixed', [('model_r50_96', True),
                                         ('model_r50_96_copy', False)])
def test_model(name, mixed):
    case = Case(FOLDER, name)
    out = step(case, case.meta['config'],
               dict(type='mmpretrain.ResNet', depth=50, norm_eval=False), mixed)
    assert set(out) == set(case.meta['outputs'])
    case.check(out)


STAND_IN = dict(type='GoldenEncoder', channels=512)


def model_rank(rank: int) -> dict:
    case = Case(FOLDER, 'model_2ranks')
    out = step(case, case.meta['config'], STAND_IN, True, f'rank{rank}/')
    return {f'{key}_{rank}': value for key, value in out.items()
            if f'{key}_{rank}' in case.meta['outputs']}


def both_cases(rank: int) -> list[dict]:
    return [contrast_rank(rank), model_rank(rank)]


def test_two_ranks():
    # One start of two processes for both cases: starting takes longer than they do.
    found = zip(*on_ranks(2, both_cases), strict=True)
    for name, (first, second) in zip(('slot_contrast_2ranks', 'model_2ranks'), found,
                                     strict=True):
        case = Case(FOLDER, name)
        assert set(first | second) == set(case.meta['outputs'])
        case.check(first | second)


def test_trajectory():
    case = Case(FOLDER, 'trajectory_tiny')
    config = case.meta['config']
    model = slotcon(config, STAND_IN)
    model.load_state_dict(weights(case, mixed=False))
    groups = two_groups(model)
    groups[1]['adapt'] = False
    optimizer = LARS(groups, lr=0.0, momentum=config['momentum'], eps=0.0,
                     weight_decay=config['weight_decay'], trust_coef=config['eta'])
    epoch = config['n_iter_per_epoch']
    losses, rates, centers = [], [], []
    for i in range(4):
        model.momentum.coefficient = cosine_momentum(i, config['K'],
                                                     config['base_momentum'])
        rates.append(warmup_cosine(
            i, config['epochs'] * epoch, config['warmup_epoch'] * epoch,
            config['lr_peak'], config['warmup_multiplier']))
        for group in optimizer.param_groups:
            group['lr'] = rates[-1]
        first, change = (case.input('im', view=v, step=i) for v in (1, 2))
        terms = model.losses_of([first.double(), (first + 0.5 * change).double()],
                                regions(case.meta['inputs']))
        loss = terms['loss_distill'] + terms['loss_slot']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        centers.append(model.center[0].clone())
    state = model.state_dict()
    case.check(dict(loss=torch.stack(losses), lr=np.array(rates),
                    center=torch.stack(centers)) | {
        key: state[ours(key.removeprefix('after:'))]
        for key in case.meta['outputs'] if key.startswith('after:')})

"""Time DenseCLIP against a literal implementation of its description, same weights."""
import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.structures import PixelData
from timing.frame import Row, suite
from timing.pairs import memory_rows, peak, relative, time_rows
from torch import Tensor, nn

from mmcontrast.apis.config import load_config
from mmcontrast.io.former_keys import current_keys
from mmcontrast.methods.denseclip.box_targets import pixel_text_loss
from mmcontrast.methods.denseclip.pixel_loss import upsampled_cross_entropy
from mmcontrast.registry import MODELS

from . import denseclip_as_written as written

_CONFIG = 'mmcontrast::denseclip/denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'
_RELEASED = 'the released DenseCLIP code'


@suite('denseclip', 'DenseCLIP against a literal implementation', threads=0)
def denseclip(images: int = 1, size: int = 512, classes: int = 150, boxes: int = 20,
              turns: int = 3, device: str = 'cpu', config: str = _CONFIG):
    """RN50 and Semantic FPN: inference, text encoder, training step, losses, boxes.

    --images   batch size
    --size     side of the images in pixels
    --classes  number of classes, the first of ADE20K
    --boxes    boxes of 80 classes in each of two images of 800 x 1344 pixels
    --turns    turns of each comparison within a run
    --device   'cpu' or 'cuda'
    --config   another segmentor with a CLIP ResNet
    """
    pair = Pair(config, images, size, classes, device)

    def run() -> Iterator[Row]:
        yield from pair.difference_rows()
        yield from pair.inference_rows(turns)
        yield from time_rows('text tower, forward and backward', pair.text(), turns,
                             'at least 2.5', f'2.01 s / 0.69 s, {_RELEASED}')
        yield from pair.step_rows(turns)
        for name, functions in pixel_losses(images, size, classes, device).items():
            yield from time_rows(name, functions, turns)
            yield from memory_rows(name, {n: peak(f) for n, f in functions.items()})
        yield from time_rows('targets and loss of boxes', box_losses(boxes, device),
                             turns)
    return run


class Pair:
    """Our segmentor and a transcription of the release, of one set of weights."""

    def __init__(self, config: str, images: int, size: int, classes: int, device: str
                 ):
        from mmseg.structures import SegDataSample
        from mmseg.utils import get_classes
        torch.manual_seed(0)
        cfg = load_config(config).model
        for part in (cfg.backbone, cfg.text_encoder):
            part.pop('init_cfg')        # random weights cost the same
        cfg.class_names = get_classes('ade')[:classes]
        self.ours = revert_sync_batchnorm(MODELS.build(cfg)).to(device)
        self.written = transcribe(self.ours)
        self.models = {'ours': self.ours, 'as written': self.written}
        self.optimizers = {name: adamw(model) for name, model in self.models.items()}
        self.images = torch.randn(images, 3, size, size, device=device)
        self.labels = random_labels(images, size, classes, device)
        self.samples = [SegDataSample(
            gt_sem_seg=PixelData(data=label[None]),
            metainfo=dict(img_shape=(size, size), ori_shape=(size, size)))
            for label in self.labels]

    def train(self, mode: bool) -> None:
        for model in self.models.values():
            model.train(mode)

    def logits(self) -> dict[str, Callable]:
        metas = [sample.metainfo for sample in self.samples]
        return {'ours': lambda: self.ours.encode_decode(self.images, metas),
                'as written': lambda: self.written.segment(self.images)}

    def losses(self) -> dict[str, Callable]:
        def ours() -> Tensor:
            losses = self.ours.loss(self.images, self.samples)
            return sum(value for name, value in losses.items() if 'loss' in name)
        return {'ours': ours,
                'as written': lambda: self.written.loss(self.images, self.labels)}

    def difference_rows(self) -> Iterator[Row]:
        """In eval mode, because dropout masks differ, but with gradients."""
        self.train(False)
        with torch.no_grad():
            logits = [function() for function in self.logits().values()]
        yield Row('logits, largest difference / largest', relative(*logits), '')
        losses = {name: loss() for name, loss in self.losses().items()}
        yield Row('loss, difference / loss', relative(*losses.values()), '')
        contexts = {'ours': self.ours.class_texts.contexts,
                    'as written': self.written.contexts}
        gradients = [torch.autograd.grad(loss, contexts[name])[0]
                     for name, loss in losses.items()]
        yield Row("contexts' gradient, largest difference / largest",
                  relative(*gradients), '')

    def inference_rows(self, turns: int) -> Iterator[Row]:
        self.train(False)
        with torch.no_grad():
            yield from time_rows('inference', self.logits(), turns, 'at least 1.8')

    def text(self) -> dict[str, Callable]:
        """Class embeddings, with backward to the contexts."""
        self.train(True)
        gradient = torch.randn_like(self.ours.class_texts())
        frozen = share_weights(written_tower(self.ours),
                               self.ours.class_texts.text_encoder)
        frozen.requires_grad_(False)

        def as_written(tower: nn.Module):
            tower(self.written.tokens, self.written.contexts).backward(gradient[None])
            tower.zero_grad()

        return {'ours': lambda: self.ours.class_texts().backward(gradient),
                'as written': lambda: as_written(self.written.text_encoder),
                'as written but frozen': lambda: as_written(frozen)}

    def step_rows(self, turns: int) -> Iterator[Row]:
        self.train(True)

        def step(name: str):
            self.losses()[name]().backward()
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()

        functions = {name: lambda name=name: step(name) for name in self.models}
        yield from time_rows('training step', functions, turns, 'at least 1.3')
        yield from memory_rows(
            'training step with weights and AdamW',
            {name: self.held(name) + peak(f) for name, f in functions.items()},
            'at most 0.8')

    def held(self, name: str) -> int:
        """Bytes of weights and optimizer state, allocated before a step."""
        model, states = self.models[name], self.optimizers[name].state.values()
        tensors = [*model.parameters(), *model.buffers(), *(
            x for state in states for x in state.values() if isinstance(x, Tensor))]
        return sum(x.numel() * x.element_size() for x in tensors)


def transcribe(ours: nn.Module) -> written.Segmentor:
    """The literal segmentor, which shares the tensors of ours."""
    backbone, dims = ours.backbone, ours.class_texts.text_encoder.embed_dims
    tower = written.ImageTower(
        [len(getattr(backbone, f'layer{i}')) for i in (1, 2, 3, 4)],
        backbone.conv3.out_channels, dims, backbone.attnpool.num_heads,
        32 * round((len(backbone.attnpool.positional_embedding) - 1) ** 0.5))
    model = written.Segmentor(
        tower, written_tower(ours), written.ContextDecoder(dims),
        copy.deepcopy(ours.neck), copy.deepcopy(ours.decode_head),
        ours.class_texts.contexts, ours.class_texts.tokens)
    # The transcription has the keys of the release.
    model.former_keys = {current: key for key, current in ours.former_keys.items()}
    return share_weights(model, ours)


def written_tower(ours: nn.Module) -> written.TextTower:
    sizes = ours.class_texts.text_encoder.sizes
    return written.TextTower(sizes.width, sizes.heads, sizes.layers,
                             sizes.context_length, sizes.vocab_size, sizes.embed_dims)


def share_weights(model: nn.Module, source: nn.Module) -> nn.Module:
    """Let ``model`` use the tensors of ``source``; it keeps its own gradients."""
    state = {key: value.detach() for key, value in source.state_dict().items()}
    model.load_state_dict(current_keys(state, model), assign=True)
    return model


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The published groups that affect cost: texts at rate 0 unless frozen."""
    groups = {0.0: [], 1e-5: [], 1e-4: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = (0.0 if 'text_encoder' in name else
                    1e-5 if 'backbone' in name else 1e-4)
            groups[rate].append(parameter)
    return torch.optim.AdamW([dict(params=params, lr=rate)
                              for rate, params in groups.items() if params],
                             weight_decay=1e-4)


def pixel_losses(images: int, size: int, classes: int, device: str
                 ) -> dict[str, dict[str, Callable]]:
    """Cross entropy of the head's logits and of the score map, with backward."""
    labels = random_labels(images, size, classes, device)

    def functions(stride: int) -> dict[str, Callable]:
        logits = torch.randn(images, classes, size // stride, size // stride,
                             device=device, requires_grad=True)
        return {
            'ours': lambda: torch.autograd.grad(
                upsampled_cross_entropy(logits, labels).loss / labels.numel(), logits),
            'as written': lambda: torch.autograd.grad(
                written.cross_entropy(logits, labels), logits)}

    return {f'cross entropy of maps of stride {stride}': functions(stride)
            for stride in (4, 32)}


def box_losses(count: int, device: str, images: int = 2, classes: int = 80
               ) -> dict[str, Callable]:
    """The detectors' auxiliary loss from boxes, with backward to the score map."""
    size = height, width = 800, 1344
    logits = torch.randn(images, classes, height // 4, width // 4, device=device,
                         requires_grad=True)
    corners = torch.rand(images, count, 2, 2, device=device).sort(2).values
    boxes = list((corners * corners.new_tensor([width, height])).flatten(2))
    labels = list(torch.randint(classes, (images, count), device=device))
    return {
        'ours': lambda: torch.autograd.grad(
            pixel_text_loss(logits, boxes, labels, size), logits),
        'as written': lambda: torch.autograd.grad(
            written.box_loss(logits, boxes, labels), logits)}


def random_labels(images: int, size: int, classes: int, device: str) -> Tensor:
    """(B, H, W) blocks of 8 pixels, a tenth of the rows ignored."""
    blocks = torch.randint(classes, (images, 1, size // 8, size // 8), device=device)
    labels = F.interpolate(blocks.float(), (size, size)).long()[:, 0]
    labels[:, :size // 10] = 255
    return labels

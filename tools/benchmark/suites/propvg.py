"""Time PropVG against a literal implementation of its description, same weights."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools import mask as coco_masks
from timing.frame import Row, suite, time_in_turns
from timing.pairs import memory_rows, peak, relative, time_rows
from torch import Tensor, nn

from mmcontrast.registry import MODELS

from . import propvg_as_written as written
from .propvg_loader import loader_rows

PHRASES = ('the large red circle', 'a small blue square', 'the green triangle on top',
           'the square left of the circle', 'yellow star', 'the largest shape',
           'the circle that is not red', 'a purple cross at the bottom')


@dataclass(frozen=True)
class Sizes:
    """The model, its input, and the device; see :func:`propvg`."""

    size: int
    tokens: int
    layers: int
    width: int
    channels: int
    vocabulary: int
    device: str


@suite('propvg', 'PropVG against a literal implementation', threads=0)
def propvg(images: int = 1, train_images: int = 2, size: int = 320, tokens: int = 50,
           layers: int = 12, width: int = 768, channels: int = 256,
           vocabulary: int = 64010, phrases: int = 8, files: int = 16,
           objects: int = 10, turns: int = 3, device: str = 'cpu'):
    """Inference, training step, data loading, several phrases about one image.

    --images        images of a batch of inference
    --train-images  images of a training step
    --size          side of the images in pixels
    --tokens        length of the padded phrases
    --layers        layers of the encoder
    --width         channels of the encoder
    --channels      channels of proposals and of the mask branch
    --vocabulary    rows of the text table
    --phrases       phrases about one image, 8 at most
    --files         image files of 640 x 480 pixels to load
    --objects       objects on each of them
    --turns         turns of each comparison within a run
    --device        'cpu' or 'cuda'
    """
    sizes = Sizes(size, tokens, layers, width, channels, vocabulary, device)
    pair = Pair(sizes, images, train_images)

    def run() -> Iterator[Row]:
        yield from pair.difference_rows()
        yield from pair.inference_rows(turns)
        yield from pair.phrase_rows(phrases, turns)
        yield from pair.step_rows(turns)
        yield from loader_rows(files, objects, size, turns)
    return run


class Pair:
    """Our model and a transcription of the description, of one set of weights."""

    def __init__(self, sizes: Sizes, images: int, train_images: int):
        torch.manual_seed(0)
        self.ours = build_model(sizes)
        self.written = share_weights(written.Model(self.ours), self.ours)
        self.models = {'ours': self.ours, 'as written': self.written}
        self.test_batch = Batch(sizes, images, self.ours.tokenizer)
        self.train_batch = Batch(sizes, train_images, self.ours.tokenizer)
        self.optimizers = {
            name: torch.optim.Adam(model.parameters(), 5e-5, (0.9, 0.98), 1e-9,
                                   amsgrad=True, fused=name == 'ours')
            for name, model in self.models.items()}

    def train(self, mode: bool) -> None:
        for model in self.models.values():
            model.train(mode)

    def outputs(self) -> dict[str, Callable]:
        """Scores, boxes and mask logits of each side."""
        batch = self.test_batch

        def ours() -> dict[str, Tensor]:
            found = self.ours(batch.images, batch.samples)
            return dict(scores=self.ours.head.scores(found),
                        boxes=found.proposals.boxes, masks=found.mask_logits)
        return {'ours': ours, 'as written': lambda: self.written(
            batch.images, batch.ids, batch.padding)}

    def losses(self) -> dict[str, Callable]:
        batch = self.train_batch
        return {
            'ours': lambda: sum(self.ours(
                batch.images, batch.samples, mode='loss').values()),
            'as written': lambda: self.written.loss(
                batch.images, batch.ids, batch.padding, batch.targets)}

    def difference_rows(self) -> Iterator[Row]:
        """In eval mode, because dropout masks differ, but with gradients."""
        self.train(False)
        with torch.no_grad():
            ours, theirs = (function() for function in self.outputs().values())
        for name in ours:
            yield Row(f'{name}, largest difference / largest',
                      relative(ours[name], theirs[name]), '')
        losses = {name: loss() for name, loss in self.losses().items()}
        yield Row('loss, difference / loss', relative(*losses.values()), '')
        gradients = [torch.autograd.grad(
            loss, self.models[name].head.image_embedding.weight)[0]
            for name, loss in losses.items()]
        yield Row("image embedding's gradient, largest difference / largest",
                  relative(*gradients), '')

    def inference_rows(self, turns: int) -> Iterator[Row]:
        self.train(False)
        with torch.no_grad():
            functions = self.outputs()
            yield from time_rows('inference', functions, turns, 'at least 1.5')
            yield from memory_rows('inference', {
                name: peak(function) for name, function in functions.items()})

    def phrase_rows(self, count: int, turns: int) -> Iterator[Row]:
        """Several phrases in one call share what depends on the image alone."""
        self.train(False)
        image, phrases = self.test_batch.images[:1], PHRASES[:count]
        found = time_in_turns({
            'apart': lambda: [self.ours.ground(image, [[x]]) for x in phrases],
            'joint': lambda: self.ours.ground(image, [phrases])}, turns)
        yield Row(f'{count} phrases in one call',
                  [1e3 * x for x in found.times['joint'].values], 'ms')
        yield Row(f'{count} phrases, one call / {count} calls',
                  found.ratios['joint'].values, 'x', target='at most 0.5')

    def step_rows(self, turns: int) -> Iterator[Row]:
        """Forward, losses, backward, clipping and Adam."""
        self.train(True)
        losses = self.losses()

        def step(name: str):
            losses[name]().backward()
            nn.utils.clip_grad_norm_(self.models[name].parameters(), 0.15)
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        functions = {name: lambda name=name: step(name) for name in self.models}
        yield from time_rows('training step', functions, turns, 'at least 1.3')
        yield from memory_rows('training step', {
            name: peak(function) for name, function in functions.items()})


class Batch:
    """Images, phrases and objects, in the form that each side takes."""

    def __init__(self, sizes: Sizes, count: int, tokenizer):
        size, device = sizes.size, sizes.device
        self.images = torch.randn(count, 3, size, size, device=device)
        phrases = [PHRASES[i % len(PHRASES)] for i in range(count)]
        self.ids, self.padding = tokenizer(phrases).to(device)
        self.samples, rles, boxes, referred = [], [], [], []
        for phrase in phrases:
            center, half = 0.2 + 0.6 * torch.rand(5, 2), 0.05 + 0.1 * torch.rand(5, 2)
            corners = torch.cat([center - half, center + half], 1)
            meant = torch.arange(5) < 2
            mask = torch.zeros(size, size, dtype=torch.bool)
            for x1, y1, x2, y2 in (size * corners[meant]).long().tolist():
                mask[y1:y2, x1:x2] = True
            self.samples.append(sample_of(phrase, size, size * corners, meant, mask
                                          ).to(device))
            rles.append(coco_masks.encode(np.asfortranarray(mask.byte().numpy())))
            boxes.append(torch.cat([center, 2 * half], 1).to(device))
            referred.append(meant.to(device))
        self.targets = dict(rles=rles, boxes=boxes, referred=referred)


def sample_of(phrase: str, size: int, boxes: Tensor, referred: Tensor, mask: Tensor
              ) -> DetDataSample:
    """A sample as the data set gives it."""
    sample = DetDataSample(metainfo=dict(
        text=phrase, img_shape=(size, size), ori_shape=(size, size)))
    sample.gt_instances = InstanceData(
        bboxes=boxes, referred=referred, labels=torch.zeros(len(boxes)).long())
    sample.gt_mask = mask
    return sample


def build_model(sizes: Sizes) -> nn.Module:
    """The published model with an encoder of these sizes."""
    model = MODELS.build(dict(
        type='PropVG',
        encoder=dict(
            type='BEiT3', image_size=sizes.size, embed_dims=sizes.width,
            depth=sizes.layers, num_heads=max(1, sizes.width // 64),
            feedforward=4 * sizes.width, vocab_size=sizes.vocabulary),
        tokenizer=dict(type='BEiT3Tokenizer', model_file='shapes',
                       max_tokens=sizes.tokens),
        head=dict(channels=sizes.channels)))
    return model.to(sizes.device)


def share_weights(model: nn.Module, source: nn.Module) -> nn.Module:
    """Let ``model`` use the tensors of ``source``; it keeps its own gradients."""
    weights = {key: value.detach() for key, value in source.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    return model.to(next(source.parameters()).device)

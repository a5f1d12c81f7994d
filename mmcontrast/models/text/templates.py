"""Read prompt templates and fill them with class names."""
import os
from collections.abc import Sequence
from pathlib import Path

from ...io.text_files import read_text, split_lines
from ..clip_weights import open_clip
from .vocabulary import Vocabulary

PHOTO = ('a photo of a {}.',)
# Things in a scene, for detection and segmentation.
SCENE = (
    'a photo of a {} in the scene.', 'a photo of the {} in the scene.',
    'a photo of one {} in the scene.', 'there is a {} in the scene.',
    'there is the {} in the scene.', 'this is a {} in the scene.',
    'this is the {} in the scene.', 'this is one {} in the scene.')
AERIAL = ('a satellite photo of {}.', 'an aerial photo of {}.',
          '{} seen from above.', 'a centered satellite photo of {}.')
STREET = ('a photo of a {} in a street.', 'a {} seen from a car.',
          'there is a {} on the road.', 'a photo of a {} in a city.')
TEMPLATES = {
    'name': ('{}',), 'photo': PHOTO, 'scene': SCENE, 'aerial': AERIAL,
    'street': STREET,
    # By dataset.
    'ade': SCENE, 'coco': SCENE, 'cocostuff': SCENE, 'lvis': SCENE, 'pcontext': SCENE,
    'voc': PHOTO, 'cityscapes': STREET, 'camvid': STREET, 'bdd100k': STREET,
    'loveda': AERIAL, 'potsdam': AERIAL, 'vaihingen': AERIAL, 'isaid': AERIAL}
# Lists that open_clip keeps: the 80 of CLIP's zero-shot ImageNet, and the best 7.
OPEN_CLIP = dict(imagenet='OPENAI_IMAGENET_TEMPLATES',
                 imagenet7='SIMPLE_IMAGENET_TEMPLATES')


def read_templates(source: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Templates with one ``{}`` each, where the class name goes.

    Args:
        source: One template, ``'a photo of a {}.'``; a list of them, an ensemble; a
            name of :data:`TEMPLATES`, ``'imagenet'`` or ``'imagenet7'``; or a text
            file, one template a line.

    Raises:
        ValueError: If there is none, a name is unknown, or a template does not hold
            ``{}`` once.
        FileNotFoundError: If a text file does not exist.
    """
    if isinstance(source, Path | str):
        templates = _named(source)
    else:
        templates = tuple(source)
    wrong = [t for t in templates if not isinstance(t, str) or t.count('{}') != 1
             or t.count('{') + t.count('}') != 2]
    if wrong or not templates:
        raise ValueError(
            "A prompt template holds {} once, where the class name goes: 'a photo of a "
            f"{{}}.'; got {wrong[0] if wrong else 'none'!r}.")
    return templates


def fill_templates(vocabulary: Vocabulary,
                   templates: Sequence[str]) -> list[list[str]]:
    """The prompts of each class: every synonym in every template."""
    return [[template.format(name) for name in names for template in templates]
            for names in vocabulary.synonyms]


def _named(source: str | Path) -> tuple[str, ...]:
    path = Path(source).expanduser()
    # Not path.is_file(), which fails for a line that is too long for a file name.
    if '{' not in str(source) and os.path.isfile(path):
        lines = [line.strip() for line in split_lines(read_text(path))]
        return tuple(line for line in lines if line and not line.startswith('#'))
    if isinstance(source, Path) or path.suffix == '.txt':
        raise FileNotFoundError(
            f'No prompt templates at {source}. Expected a text file, one a line.')
    if source in OPEN_CLIP:
        return tuple(template('{}')
                     for template in getattr(open_clip(), OPEN_CLIP[source]))
    if source in TEMPLATES or '{' in source:
        return TEMPLATES.get(source, (source,))
    raise ValueError(f'No prompt templates named {source!r}; there are '
                     f'{", ".join(sorted([*TEMPLATES, *OPEN_CLIP]))}.')

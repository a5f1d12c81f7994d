"""Choose, clean and make the text of an image-text pair."""
import random
import re
from collections.abc import Mapping, Sequence

from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..bad_images import BadImage, Reason


@TRANSFORMS.register_module()
class ChooseText(BaseTransform):
    """Choose one of the captions of an image: ``texts`` becomes ``text``.

    Args:
        choose: 'random', another one in every epoch, or 'first', for evaluation.
    """

    def __init__(self, choose: str = 'random') -> None:
        if choose not in ('random', 'first'):
            raise ValueError(f"choose must be 'random' or 'first', got {choose!r}.")
        self.choose = choose

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        texts = results.pop('texts', None)
        if not texts:
            raise KeyError(
                f"{results.get('img_path', 'A sample')} has no 'texts' to choose from; "
                'it comes from ImageTextPairs, ShardedPairs or '
                'ShapesDataset(with_captions=True).')
        results['text'] = texts[0] if self.choose == 'first' else rng.choice(texts)
        return results


@TRANSFORMS.register_module()
class CleanText(BaseTransform):
    """Clean all ``texts`` of an image: replace parts, join spaces, lower case.

    Stands before ``ChooseText``. The tokenizers of open_clip lower the case and join
    spaces themselves.

    Args:
        replace: Parts of captions and what stands for them, e.g. ``{'<PERSON>':
            'person'}`` for CC12M; applied first, in this order.
        lower: Whether to change to lower case.

    Raises:
        BadImage: If nothing is left of all texts; the image is replaced and listed.
        KeyError: If there are no ``texts``, as after ``ChooseText``.
    """

    def __init__(self, replace: Mapping[str, str] | None = None, lower: bool = True
                 ) -> None:
        self.replace, self.lower = dict(replace or {}), lower

    def transform(self, results: dict) -> dict:
        if 'texts' not in results:
            # After the choice, an image with other captions would count as bad.
            raise KeyError(
                f"{results.get('img_path', 'A sample')} has no 'texts' to clean; "
                'CleanText belongs before ChooseText in the pipeline.')
        left = [text for text in map(self._clean, results['texts']) if text]
        results['texts'] = tuple(left)
        if not left:
            raise BadImage(results.get('img_path', '?'), Reason.EMPTY_TEXT,
                           'after CleanText')
        return results

    def _clean(self, text: str) -> str:
        for part, other in self.replace.items():
            text = text.replace(part, other)
        text = ' '.join(text.split())
        return text.lower() if self.lower else text


@TRANSFORMS.register_module()
class CaptionFromClass(BaseTransform):
    """Make ``texts`` from the class of an image: 'a photo of a dog.'.

    For labeled images, e.g. ``UnlabeledImages(with_label=True)``; one text for each
    template, of which ``ChooseText`` draws one.

    Args:
        classes: Name of each ``label``.
        templates: Sentences with ``{}`` where the name stands.
    """

    def __init__(self, classes: Sequence[str],
                 templates: Sequence[str] = ('a photo of a {}.',)) -> None:
        bad = [template for template in templates if template.count('{}') != 1]
        if bad or not templates:
            raise ValueError("templates must be sentences with one '{}' each, got "
                             f'{bad[0] if bad else list(templates)!r}.')
        self.classes, self.templates = tuple(classes), tuple(templates)

    def transform(self, results: dict) -> dict:
        label = results['label']
        if not 0 <= label < len(self.classes):
            raise ValueError(f'{results.get("img_path", "A sample")} has the label '
                             f'{label}, there are {len(self.classes)} classes.')
        name = self.classes[label]
        results['texts'] = tuple(
            template.replace('{}', name) for template in self.templates)
        return results


_SIDES = re.compile(r'\b(left|right)(?=(most|ward|wards|hand|handed|side)?\b)', re.I)


def names_a_side(text: str) -> bool:
    """Whether a text holds the word left or right (leftmost, right-hand, ...)."""
    return bool(_SIDES.search(text))


def swap_sides(text: str) -> str:
    """The text with left and right exchanged, each in its upper or lower case."""
    return _SIDES.sub(_other_side, text)


def _other_side(match: re.Match) -> str:
    word = match[1]
    other = 'right' if word.lower() == 'left' else 'left'
    return other.upper() if word.isupper() else (
        other.capitalize() if word[0].isupper() else other)

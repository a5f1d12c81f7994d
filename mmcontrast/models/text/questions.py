"""Answer multiple-choice questions about images by the closest text."""
from collections.abc import Callable, Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..functional import l2_normalize


@torch.no_grad()
def answer_questions(image_embeds: Tensor, data_samples: Sequence[BaseDataElement],
                     encode_texts: Callable[[Sequence[str]], Tensor]
                     ) -> list[BaseDataElement]:
    """Choose the text of the largest cosine for every question about every image.

    Args:
        image_embeds: (B, D) L2-normalized.
        data_samples: B samples with ``questions``, name to a pair of choices (texts)
            and the index of the right one, as ``MultipleChoiceAccuracy`` reads them.
        encode_texts: K texts -> (K, D) embeddings; called once.

    Returns:
        The samples with ``answers``, name to the index of the chosen text.
    """
    texts = list(dict.fromkeys(
        text for sample in data_samples
        for choices, _ in sample.questions.values() for text in choices))
    index = {text: i for i, text in enumerate(texts)}
    # n: image, k: text
    cosines = (image_embeds @ l2_normalize(encode_texts(texts), -1).T).cpu()
    for row, sample in zip(cosines.numpy(), data_samples, strict=True):
        sample.answers = {
            name: int(row[[index[text] for text in choices]].argmax())
            for name, (choices, _) in sample.questions.items()}
    return list(data_samples)

"""Give the toy world a text vocabulary: a sentencepiece model of its phrases."""
import io
from pathlib import Path

from .scene import draw_scene
from .vocabulary import scene_seed

WORDS_FILE = Path(__file__).with_name('words.spm')
"""The model of :func:`train_words` as it is shipped, with 220 pieces."""
VOCAB_SIZE = 221
"""Number of token ids, as XLM-RoBERTa counts them: one more than pieces."""
NUM_SCENES = 400
_LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def train_words() -> bytes:
    """The content of :data:`WORDS_FILE`, trained again.

    Byte pairs of the referring expressions of the first training scenes, text taken as
    it is (no Unicode normalization, which needs tables a hundred times as large). Every
    word of an expression is one piece; other words in small letters are spelled out in
    shorter pieces, and digits and capitals are unknown.
    """
    import sentencepiece

    scenes = (draw_scene(scene_seed('train', i)) for i in range(NUM_SCENES))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(expression.text for scene in scenes
                           for expression in scene.referring),
        model_writer=written, model_type='bpe', vocab_size=VOCAB_SIZE - 1,
        normalization_rule_name='identity', character_coverage=1.0,
        required_chars=_LETTERS, num_threads=1, minloglevel=2)
    return written.getvalue()

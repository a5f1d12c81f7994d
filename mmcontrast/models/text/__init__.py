"""Encode texts: tokenizer, text encoders, vocabularies, class texts of a model."""
from .class_embeddings import EmbeddingCache, embed_classes
from .class_texts import ClassTexts
from .encoder import CLIPTextEncoder
from .questions import answer_questions
from .templates import TEMPLATES, read_templates
from .tokenizer import token_lengths, tokenize
from .vocabulary import Vocabulary, class_list, read_vocabulary

__all__ = ['CLIPTextEncoder', 'ClassTexts', 'EmbeddingCache', 'TEMPLATES', 'Vocabulary',
           'answer_questions', 'class_list', 'embed_classes', 'read_templates',
           'read_vocabulary', 'token_lengths', 'tokenize']

"""Words for the methods that read them: tokens, text towers, vocabularies."""
from .encoder import CLIPTextEncoder
from .tokenizer import token_lengths, tokenize
from .vocabulary import Vocabulary, check_same_classes, class_list, read_vocabulary

__all__ = ['CLIPTextEncoder', 'Vocabulary', 'check_same_classes', 'class_list',
           'read_vocabulary', 'token_lengths', 'tokenize']

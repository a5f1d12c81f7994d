"""Words for the methods that read them: tokens, text towers, vocabularies."""
from .encoder import CLIPTextEncoder
from .tokenizer import token_lengths, tokenize

__all__ = ['CLIPTextEncoder', 'token_lengths', 'tokenize']

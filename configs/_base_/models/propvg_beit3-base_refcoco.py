"""The same for RefCOCO, + and g: 384 pixels, 20 tokens, and every target exists."""
_base_ = './propvg_beit3-base.py'

model = dict(
    encoder=dict(image_size=384), tokenizer=dict(max_tokens=20),
    head=dict(with_existence=False))

"""gRefCOCO with BEiT-3 large. No scores are published for it."""
_base_ = './propvg_beit3-base_4xb16-12e_grefcoco-320x320.py'

model = dict(encoder=dict(
    embed_dims=1024, depth=24, num_heads=16, feedforward=4096,
    # In the released code a misspelled name leaves the large model without it.
    drop_path=0.1,
    init_cfg=dict(checkpoint='pretrained/beit3_large_patch16_224.zip')))

"""CLIP's normalization of RGB gray levels, the one of OpenAI's weights."""
clip_mean = [255 * x for x in (0.48145466, 0.4578275, 0.40821073)]
clip_std = [255 * x for x in (0.26862954, 0.26130258, 0.27577711)]

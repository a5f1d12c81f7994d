"""Read files of image-text pairs: tables, COCO captions, Karpathy splits, lists."""

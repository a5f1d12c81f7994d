# COCO 2017 with five captions an image, of which every epoch draws one.
_base_ = './image_text.py'

train_dataloader = dict(dataset=dict(
    data_root='data/coco', ann_file='annotations/captions_train2017.json',
    data_prefix=dict(img_path='train2017')))

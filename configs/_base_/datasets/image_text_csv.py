# A CSV with columns filepath,title, as open_clip reads, or any other table of images
# and captions: see image_column, caption_column and format of ImageTextPairs.
_base_ = './image_text.py'

train_dataloader = dict(dataset=dict(data_root='data/pairs', ann_file='train.csv'))

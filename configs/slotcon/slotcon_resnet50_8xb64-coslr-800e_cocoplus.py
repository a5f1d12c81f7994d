# The released COCO+ recipe: train2017 and unlabeled2017, 241690 images.
_base_ = './slotcon_resnet50_8xb64-coslr-800e_coco.py'

# With its scope: mmengine's wrapper builds its parts by itself.
train2017 = dict(_base_.train_dataloader.dataset, type='mmcontrast.UnlabeledImages')
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ConcatDataset', datasets=[
        train2017, dict(train2017, data_prefix=dict(img_path='unlabeled2017'))]))

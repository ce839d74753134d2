"""Writers of samples in the layouts in which data sets are published.

They write small copies of data sets that must not be passed on, for tests and for trying a study.
Each module writes what the reader of the same name in :mod:`trainables.data` reads; a writer gets
a new folder, images, keypoints in this project's joint order, and which of them are visible.

``leeds`` (LSP and LSPET), ``surreal`` and ``human36m`` write people, ``rhd``, ``h3d`` and
``freihand`` hands, and ``coco`` both. ``jpeg`` writes an image and ``flat_camera`` makes the 3-D
joints that some layouts hold beside the keypoints.
"""

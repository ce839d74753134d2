"""Images and keypoints: drawn or read from disk, split, augmented, turned into heatmaps.

Read ``skeleton`` (joint order), ``domain`` (what a data set must be able to do), ``image_store``
(the form in which every domain is stored), then a domain: ``rendered_domain`` and ``rendered``
(with ``body_prior``, ``people``, ``hand_prior``, ``hands``, ``scene``, ``renderer``) or
one of photographs: ``photograph_domain`` decodes and crops them (with ``crop``, ``photographs``,
``photograph_check``, ``problems``), a reader makes ``annotations`` of a publisher's files:
``leeds`` (with ``flags``), ``rhd`` (with ``array_pickle``), ``h3d``, ``freihand``, ``coco`` (with
``coco_file``), the last four with ``label_files``. ``hand_layouts`` and ``coco_layout`` write
such files.
``splits`` and ``frame`` are rules for all domains; ``augment`` and ``heatmaps`` make training
batches.
"""

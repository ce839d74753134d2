"""A recorded run, trained again and compared with its record.

Read ``recorded_run`` (what MLflow knows of it), then ``comparison``. Used by ``harness.replay``.
"""

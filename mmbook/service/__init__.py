"""A model in service (服务): ``python -m mmbook.service`` starts one. Chapter 5.5.

Requests are read within limits (``uploads``), answered together (``batching``) word by word
(``answering``), watched (``telemetry``, ``drift``) and corrected by people (``labels``); on
what was collected the model is tuned again (``tuning``), and a version that is worse does
not stay (``versions``). ``app`` puts all of it together. ``export`` and ``quantised`` take
the model elsewhere, and make it smaller.
"""

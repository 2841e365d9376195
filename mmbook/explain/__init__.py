"""Looking inside (可解释性): what a model attends to, and what its answer depends on.

These are different questions. *Attention* says where a model looked; *occlusion* says what
happens to the answer if a place is covered; *gradients* say how the answer would change if
the input changed a little. The first is an observation, the second an experiment, the third
an approximation of it. *Shapley values* divide an answer among modalities. Maps can look
convincing and say nothing, so *randomised* models put them to the test.

:func:`parts` lists what flows through a model (chapter 2.9), and :class:`HotellingT2`
notices that its inputs have changed (chapter 3.2). Chapter 5.2 puts attention and occlusion
of a caption side by side; chapter 3.5 compares all of these methods.
"""

from .attention import (
    attention_maps,
    cross_attention,
    replaced_attention,
    rollout,
    self_attention,
)
from .attribution import (
    gradients,
    integrated_gradients,
    occlusion,
    occlusion_maps,
    word_scores,
)
from .coalitions import blindfold, coalitions, shapley
from .drift import HotellingT2, alarm_threshold
from .flow import Part, parts
from .sanity import randomised, rank_correlation

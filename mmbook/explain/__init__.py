"""Looking inside (可解释性): where a model looks, and what its answer leans on.

Questions that are easily taken for one. *Attention* says where a model looked; *occlusion*
says what happens to the answer if a place is painted over; *gradients* say how the answer
would move if the input moved a little. The first is a look inside, the second an
experiment, the third a guess of it. *Shapley values* share an answer among modalities. And
maps can be beautiful and say nothing: *randomised* models put them to the test.

:func:`parts` tells what flows through a model (chapter 2.9). Chapter 5.2 puts attention and
occlusion of a caption side by side; chapter 3.5 grades all of them.
"""

from .attention import (
    attention_maps,
    attention_set,
    cross_attention,
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
from .coalitions import coalitions, shapley
from .flow import Part, parts
from .sanity import randomised, rank_correlation

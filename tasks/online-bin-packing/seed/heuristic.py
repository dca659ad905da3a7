"""Online bin packing: where does the next item go?"""

import numpy as np


def priority(item, residual, gap, open_at_residual, open_at_gap, capacity):
    """Score every free space; the item goes where the score is highest, ties to the smallest gap.

    All arguments are integer arrays that broadcast over (instances, residual 0…capacity):
    item              (n, 1)           size of the item to place
    residual          (1, capacity+1)  free space of a bin before placing; an unopened bin has residual = capacity
    gap               (n, capacity+1)  free space after placing, residual - item
    open_at_residual  (n, capacity+1)  number of open bins with that free space before placing
    open_at_gap       (n, capacity+1)  number of open bins whose free space is already what this one's would become
    """
    return -gap

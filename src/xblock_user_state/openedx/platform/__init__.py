"""The plugin by which the Open edX platform keeps learner state in this store.

`replacements` lists what is replaced in the platform and does it, once, at start-up. `stages` decides at each call
which store serves. `mirror` keeps the second store up to date.
"""

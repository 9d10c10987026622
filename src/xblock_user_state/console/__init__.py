"""Pages for staff, a Django app: learners, their states and the history of each block.

From top to bottom: `urls`, `views`, then `timeline` and `people`, which read, and `changes`, `charts` and `hosts`,
which are functions of values. Every view asks `access` before it looks anything up.

Pages that act go the way of `flow`, from a form of `forms` over a preview to the result; `acting` has the actions, and
`log` reads their log.
"""

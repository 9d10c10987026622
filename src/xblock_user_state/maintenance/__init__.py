"""Jobs that go over all learners, for the commands of ``manage.py`` and for `actions`.

Law 7: each statement on state or history names one learner. The exceptions live in four places: this package,
`archive`, the iterations of `store.iteration`, and the relay with its backlog gauges in `history.outbox`. The
integration tests fail when another module sends a statement without a learner.

Every job reads pages by key. It keeps a bounded number of rows in memory, and no cursor or transaction stays open
between two pages.
"""

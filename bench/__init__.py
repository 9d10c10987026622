"""The benchmark behind the figures in the documentation. See ``python -m bench --help``.

Four rooms, each of which imports only the rooms below it: `workloads` measure, `page` writes the results into the
documentation, `contenders` are the implementations under comparison, `site` has the data and the machine.
"""

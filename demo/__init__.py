"""A small XBlock host with a course of real XBlocks. It shows in a browser the state that `xblock_user_state` keeps.

Run it with ``python -m demo``. ``host/`` is also an example for other hosts: ``host/runtime.py`` binds blocks to the
client, and ``host/console.py`` gives the package's console the course's titles, order and words.
"""
